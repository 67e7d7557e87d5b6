/* The view of the page: one plain object that the address bar, the controls and the server follow. */
window.FA = window.FA || {};

FA.view = {
  state: {}, graphKeys: ["p", "l", "pos", "neg", "mem", "heads", "hn", "score", "hide", "x"],
  controls: {
    pos: ["g-pos", (v) => Number(v)], neg: ["g-neg", (v) => Number(v)], mem: ["g-mem", (v) => Number(v)],
    heads: ["g-heads", (v) => v], hn: ["g-head-count", (v) => Number(v)], score: ["g-score", (v) => v],
    color: ["g-color", (v) => v], keys: ["g-keys", (v) => v],
    a: ["c-a", (v) => (v === null || v === "" ? null : String(v))], b: ["c-b", (v) => (v === null || v === "" ? null : String(v))],
    cl: ["c-layer", (v) => v], cm: ["c-mode", (v) => v], hm: ["h-measure", (v) => v],
    hide: ["g-parts", (v) => ["mlp", "attention", "qk"].filter((part) => !String(v).split(",").includes(part))],
  },

  fromAddress() {
    const given = Object.fromEntries(new URLSearchParams(location.search)), state = { ...FA.config.defaults };
    Object.keys(state).forEach((key) => { if (key in given) state[key] = given[key]; });
    return state;
  },

  address(state) {
    const query = new URLSearchParams();
    Object.entries(state).forEach(([key, value]) => {
      const standard = FA.config.defaults[key];
      if (value !== null && value !== undefined && value !== "" && String(value) !== String(standard)) query.set(key, value);
    });
    const text = query.toString().replace(/%2C/g, ",");
    return location.pathname + (text ? "?" + text : "");
  },

  start() {
    FA.view.state = FA.view.fromAddress();
    FA.view.apply({});
    window.addEventListener("popstate", () => { FA.view.state = FA.view.fromAddress(); FA.graph.picked = null; FA.view.apply({}); });
  },

  /* Change the view. `push` makes it a step that the back button undoes. */
  set(patch, push) {
    const before = FA.view.state, after = { ...before, ...patch };
    if (Object.keys(patch).every((key) => String(before[key]) === String(after[key]))) return;
    if (("p" in patch && String(patch.p) !== String(before.p)) || ("l" in patch && patch.l !== before.l)) {
      if (!("sel" in patch)) { after.sel = ""; FA.graph.picked = null; }
      if (!("x" in patch)) after.x = "";
      FA.graph.token = null; FA.graph.path = null;
    }
    FA.view.state = after;
    history[push ? "pushState" : "replaceState"](null, "", FA.view.address(after));
    FA.view.apply(before);
  },

  request: () => Object.fromEntries(FA.view.graphKeys.map((key) => [key, FA.view.state[key]])),

  /* Note something in the address that nothing else follows. */
  remember(patch) {
    FA.view.state = { ...FA.view.state, ...patch };
    history.replaceState(null, "", FA.view.address(FA.view.state));
  },

  apply(before) {
    const state = FA.view.state, set = dash_clientside.set_props;
    Object.entries(FA.view.controls).forEach(([key, [id, toControl]]) => {
      if (before[key] === undefined || String(before[key]) !== String(state[key])) set(id, { value: toControl(state[key]) });
    });
    if (before.tab !== state.tab) FA.page.tab(state.tab);
    if (before.theme !== state.theme) FA.page.theme(state.theme);
    FA.graph.options.color = FA.bucketField[state.color] ? state.color : "target";
    FA.graph.options.keys = state.keys;
    document.body.dataset.heads = state.heads;
    if (before.color !== state.color || before.keys !== state.keys) { FA.graph.restyle(); FA.page.legend(); }
    const request = FA.view.request(), text = JSON.stringify(request);
    if (text !== FA.view.asked) {
      FA.view.asked = text;
      FA.page.busy(true);
      FA.graph.load(request);
      set("graph-request", { data: request });
    }
    set("view", { data: state });
  },
};

/* The first picture is asked for while the rest of the page is still being built. */
FA.graph.ahead(Object.fromEntries(new URLSearchParams(location.search)));
