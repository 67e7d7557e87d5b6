/* What is around the graph: tabs, theme, status line, tokens, legend, messages, keyboard. */
window.FA = window.FA || {};

FA.theme = () => FA.config.themes[document.documentElement.dataset.theme || "light"];

FA.page = {
  start(config) {
    FA.config = config;
    FA.page.keyboard();
    FA.page.legend();
    FA.page.promptButtons();
    FA.view.start();
    FA.fields.start();
    FA.ask.start();
    FA.health.ask();
  },

  tab(name) {
    const known = FA.config.tabs.includes(name) ? name : "graph";
    if (known !== name) FA.page.say(`There is no tab “${name}”; showing the graph.`);
    document.querySelectorAll("[data-panel]").forEach((panel) => { panel.hidden = panel.dataset.panel !== known; });
    document.querySelectorAll("#tabs [role=tab]").forEach((tab) => {
      const on = tab.dataset.tab === known;
      tab.setAttribute("aria-selected", String(on));
      tab.tabIndex = on ? 0 : -1;
    });
    document.body.dataset.tab = known;
    dash_clientside.set_props("tab", { data: known });
    if (known === "graph" && FA.graph.cy() && !FA.page.sized) setTimeout(FA.graph.fit, 30);
    FA.page.sized = FA.page.sized || known === "graph";
    window.dispatchEvent(new Event("resize"));
  },

  theme(wanted) {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const name = wanted === "dark" || wanted === "light" ? wanted : system;
    document.documentElement.dataset.theme = name;
    document.documentElement.dataset.agThemeMode = name;
    dash_clientside.set_props("mantine", { forceColorScheme: name });
    dash_clientside.set_props("theme", { data: name });
    FA.graph.restyle();
    FA.page.legend();
  },

  flip() { FA.view.set({ theme: document.documentElement.dataset.theme === "dark" ? "light" : "dark" }); },

  busy(on) {
    clearTimeout(FA.page.busyTimer);
    FA.page.busyTimer = setTimeout(() => document.body.classList.toggle("fa-busy", on), on ? 150 : 0);
  },

  status(meta) {
    FA.page.busy(false);
    const set = (id, ...children) => document.getElementById(id).replaceChildren(...children.filter(Boolean));
    const prompt = meta.prompt, empty = document.getElementById("g-empty");
    empty.hidden = !meta.message;
    empty.replaceChildren(meta.message || "", meta.message && prompt ? FA.el("button", { class: "fa-button strong", onclick: () => FA.view.set({ l: "all" }, true) }, "See the summary") : "");
    if (!prompt) { set("g-title", "Nothing to show"); set("g-status"); FA.page.tokens(); return; }
    set("g-title",
      FA.el("span", { class: "fa-quote", dir: "auto", title: prompt.text }, "“" + prompt.text + "”"), FA.el("span", { class: "fa-arrow" }, "→"),
      FA.el("span", { class: "fa-target", dir: "auto" }, prompt.target.trim() || "␣"),
      FA.el("span", { class: "fa-sub" }, `rank ${prompt.target_rank.toLocaleString("en")} · p ${FA.percent(prompt.target_prob)}`
        + (prompt.correct ? "" : ` · model says “${prompt.predicted.trim()}” ${FA.percent(prompt.predicted_prob)}`)));
    set("g-status", FA.el("span", {}, meta.layers), FA.el("span", { title: meta.hidden }, meta.showing));
    document.getElementById("g-overview").setAttribute("aria-pressed", String(meta.summary));
    if (meta.problems && meta.problems.length) meta.problems.forEach((text) => FA.page.say(text));
    if (String(FA.view.state.p) !== String(prompt.id)) FA.view.remember({ p: prompt.id });
    FA.page.tokens();
  },

  /* The layer slider follows the model and the view, and says numbers under it. */
  layers(meta) {
    if (!meta.n_layer) return;
    const last = meta.n_layer - 1, step = Math.max(1, Math.ceil(last / 6));
    const marks = [];
    for (let layer = 0; layer <= last; layer += step) marks.push({ value: layer, label: String(layer) });
    FA.quietLayers = true;
    dash_clientside.set_props("g-layers", { max: last, value: meta.range || [0, last], marks: marks });
    setTimeout(() => { FA.quietLayers = false; }, 60);
  },

  tokens() {
    const meta = FA.graph.meta || {}, strip = document.getElementById("g-tokens");
    strip.replaceChildren(...(meta.tokens || []).map((token, i) => FA.el("button", {
      class: "fa-chip", dir: "auto", "aria-pressed": String(FA.graph.token === i), "data-position": i,
      title: `token ${i}: see what memories it creates`, onclick: () => FA.graph.showToken(i),
    }, FA.el("small", {}, String(i)), token.text.trim() || "␣")));
  },

  promptButtons() {
    const chosen = FA.chosen || [];
    document.getElementById("p-open").disabled = chosen.length !== 1;
    document.getElementById("p-compare").disabled = chosen.length !== 2;
  },

  found(count, first) {
    const note = document.getElementById("g-found");
    if (note) note.textContent = count === null ? "" : count === 0 ? "none shown" : `${count} found`;
    if (first) FA.graph.firstFound = first.id();
  },

  say(text, kind) {
    const box = document.getElementById("fa-says");
    const note = FA.el("div", { class: "fa-say " + (kind || ""), role: "status" }, text,
      FA.el("button", { "aria-label": "Dismiss", onclick: () => note.remove() }, "×"));
    box.append(note);
    setTimeout(() => note.remove(), kind === "error" ? 12000 : 6000);
  },

  legend() {
    const bar = document.getElementById("g-legend");
    if (!bar || !FA.config) return;
    const theme = FA.theme(), mode = FA.graph.options.color;
    const words = {
      target: ["Target rank", ["1", "2–10", "11–100", "101–1k", ">1k", "bottom 1 %"]],
      foil: ["Foil rank", ["1", "2–10", "11–100", "101–1k", ">1k", "bottom 1 %"]],
      entropy: ["Entropy", ["one token", "low", "middle", "high", "uniform"]],
      contribution: ["Contribution", ["− most", "−", "− little", "none", "+ little", "+", "+ most"]],
    }[mode];
    const fills = FA.fills(theme, mode);
    const swatch = (fill, text, dashed) => FA.el("span", {},
      FA.el("i", { class: "fa-swatch" + (dashed ? " dashed" : ""), style: { background: fill } }), text);
    const lineOf = (colour, text, height) => FA.el("span", {}, FA.el("i", { class: "fa-line", style: { background: colour, height: (height || 3) + "px" } }), text);
    bar.replaceChildren(
      FA.el("b", {}, words[0]), ...words[1].map((text, i) => swatch(fills[i][1], text, i === 5 && mode !== "contribution")),
      FA.el("b", {}, "Edges"), lineOf(theme.residual, "residual", 7), lineOf(theme.norm, "norm"), lineOf(theme.attention, "attention"),
      lineOf(theme.positive, "coefficient +"), lineOf(theme.negative, "coefficient −"),
      lineOf(`linear-gradient(90deg, ${theme.sums[0]}, ${theme.sums[4]})`, "sum, dark = low entropy"),
      FA.el("span", {}, FA.el("i", { class: "fa-wedge" }), "width = score"));
  },

  typing: (target) => target && (target.closest("input, textarea, select, [contenteditable=true], .ag-root") !== null),

  keyboard() {
    const tabs = FA.config.tabs;
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        if (FA.page.typing(event.target)) event.target.blur();
        document.getElementById("fa-help").hidden = true;
        FA.graph.token = null; FA.graph.pick(null); FA.page.tokens();
        return;
      }
      if (FA.page.typing(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
      const actions = {
        "/": () => { FA.view.set({ tab: "graph" }); document.getElementById("g-find").focus(); },
        "+": () => FA.graph.zoom(1.25), "=": () => FA.graph.zoom(1.25), "-": () => FA.graph.zoom(0.8), "0": () => FA.graph.fit(),
        d: () => FA.page.flip(), n: () => FA.graph.nextFound(), s: () => FA.view.set({ l: "all" }, true),
        "[": () => FA.page.step(-1), "]": () => FA.page.step(1), "?": () => { const help = document.getElementById("fa-help"); help.hidden = !help.hidden; },
      };
      if (/^[1-7]$/.test(event.key)) { FA.view.set({ tab: tabs[Number(event.key) - 1] }, true); event.preventDefault(); }
      else if (actions[event.key]) { actions[event.key](); event.preventDefault(); }
    });
    document.getElementById("tabs").addEventListener("click", (event) => {
      const tab = event.target.closest("[role=tab]");
      if (tab) FA.view.set({ tab: tab.dataset.tab }, true);
    });
    document.getElementById("tabs").addEventListener("keydown", (event) => {
      const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!move) return;
      const at = tabs.indexOf(document.body.dataset.tab);
      FA.view.set({ tab: tabs[(at + move + tabs.length) % tabs.length] }, true);
      document.querySelector("#tabs [aria-selected=true]").focus();
    });
  },

  /* The layers before or after those that are open. */
  step(by) {
    const meta = FA.graph.meta, now = /^(\d+)-(\d+)$/.exec(FA.view.state.l || "");
    if (!meta || !meta.n_layer) return;
    const span = now ? now[2] - now[1] : 0;
    const first = now ? Math.min(Math.max(Number(now[1]) + by, 0), meta.n_layer - 1 - span) : by > 0 ? 0 : meta.n_layer - 1;
    FA.view.set({ l: `${first}-${first + span}` }, true);
  },
};
