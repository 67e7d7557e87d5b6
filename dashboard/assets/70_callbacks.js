/* Clientside callbacks: three lines each. */
window.dash_clientside = window.dash_clientside || {};
window.dash_clientside.fa = {
  start(config) { if (config) FA.page.start(config); return window.dash_clientside.no_update; },
  control() {
    const context = window.dash_clientside.callback_context;
    const patch = {};
    context.triggered.forEach(({ prop_id: name, value }) => FA.control(name.split(".")[0], value, patch));
    if (FA.config && Object.keys(patch).length) FA.view.set(patch, "l" in patch);
    return window.dash_clientside.no_update;
  },
  fields() {
    if (FA.config) FA.fields.changed(window.dash_clientside.callback_context.triggered);
    return window.dash_clientside.no_update;
  },
  find(words) { if (FA.config && FA.graph.cy()) FA.graph.find(words || ""); return window.dash_clientside.no_update; },
  openPrompt(rows) {
    const row = Array.isArray(rows) ? rows[0] : null;
    if (row && FA.config && String(row.id) !== String(FA.view.state.p)) FA.view.set({ p: row.id }, true);
    return window.dash_clientside.no_update;
  },
  filter(words) {
    dash_clientside.set_props("g-prompts", { dashGridOptions: { quickFilterText: words || "" } });
    return window.dash_clientside.no_update;
  },
  promptCell(cell) {
    if (cell && cell.colId === "text") FA.view.set({ p: Number(cell.rowId), tab: "graph" }, true);
    return window.dash_clientside.no_update;
  },
  promptButtons(rows) { FA.chosen = (rows || []).map((row) => row.id); FA.page.promptButtons(); return window.dash_clientside.no_update; },
  filterAll(words) {
    dash_clientside.set_props("p-grid", { dashGridOptions: { quickFilterText: words || "" } });
    return window.dash_clientside.no_update;
  },
  countRows(rows) {
    const total = FA.rowTotal("p-grid"), shown = rows ? rows.length : 0;
    document.getElementById("p-count").textContent = rows ? `${shown.toLocaleString("en")} of ${total.toLocaleString("en")} prompts` : "";
    return window.dash_clientside.no_update;
  },
  openTyped(id) { if (id !== null && id !== undefined) FA.view.set({ p: id, tab: "graph" }, true); return window.dash_clientside.no_update; },
  heads(data) { if (FA.config) FA.heads.draw(data); return window.dash_clientside.no_update; },
  headCell(cell) {
    const rows = cell ? dash_ag_grid.getApi("h-grid") : null, row = rows ? rows.getDisplayedRowAtIndex(cell.rowIndex) : null;
    const layer = FA.heads.cell ? FA.heads.cell.layer : 0;
    if (row && cell.colId === "text") FA.view.set({ p: row.data.id, l: `${layer}-${layer}`, sel: "s" + row.data.node, tab: "graph" }, true);
    return window.dash_clientside.no_update;
  },
  compared(data) { if (data && FA.config) FA.compare.draw(data); return window.dash_clientside.no_update; },
  comparedPrompts(a, b, layers, mode) {
    document.getElementById("c-prompts").hidden = mode === "groups";
    document.getElementById("c-groups").hidden = mode !== "groups";
    if (FA.config) FA.view.remember({ a: a, b: b, cl: layers || "all", cm: mode });
    return window.dash_clientside.no_update;
  },
  comparedShape(shape) { if (FA.config) FA.compare.shape(shape); return window.dash_clientside.no_update; },
  comparedCell(cell) {
    const row = cell ? dash_ag_grid.getApi("c-grid").getDisplayedRowAtIndex(cell.rowIndex) : null;
    if (row && row.data.place) FA.compare.mark(row.data.place);
    return window.dash_clientside.no_update;
  },
  queryPicked(asked) { if (asked && FA.config) FA.ask.picked(asked.name); return window.dash_clientside.no_update; },
  queryAsked(asked) {
    if (asked) FA.view.remember({ q: asked.name, qp: Object.keys(asked.given).length ? JSON.stringify(asked.given) : "" });
    return window.dash_clientside.no_update;
  },
  queryCell(cell) {
    const link = cell && ["prompt", "a", "b", "id"].includes(cell.colId) && Number.isInteger(cell.value) && cell.value < 2 ** 24;
    if (link) FA.view.set({ p: cell.value, tab: "graph" }, true);
    return window.dash_clientside.no_update;
  },
  cypherDrawn(meta) { if (meta && FA.config) FA.ask.drawn(meta); return window.dash_clientside.no_update; },
  cypherShape(shape) {
    document.body.dataset.shape = shape;
    document.getElementById("y-table").hidden = shape === "graph";
    document.getElementById("y-graph").hidden = shape !== "graph";
    if (shape === "graph") { const cy = document.getElementById("cy2")._cyreg.cy; cy.resize(); cy.fit(cy.elements(), 20); if (FA.ask.words) FA.page.say(FA.ask.words); }
    return window.dash_clientside.no_update;
  },
  cypherText(text) { if (FA.config) FA.view.remember({ cy: text || "" }); return window.dash_clientside.no_update; },
  say(message) { if (message && FA.config) FA.page.say(message.text, message.kind); return window.dash_clientside.no_update; },
};

FA.control = function (id, value, patch) {
  if (id === "g-layers" && Array.isArray(value)) {
    const meta = FA.graph.meta, shown = meta && meta.range ? meta.range.join("-") : "";
    if (value.join("-") !== shown && !FA.quietLayers) patch.l = value.join("-");
    return;
  }
  if (id === "g-parts") { patch.hide = ["mlp", "attention", "qk"].filter((part) => !(value || []).includes(part)).join(","); return; }
  const entry = Object.entries(FA.view.controls).find(([, [control]]) => control === id);
  if (entry && value !== null && value !== undefined) patch[entry[0]] = value;
};

FA.rowTotal = function (id) {
  try { return dash_ag_grid.getApi(id).getGridOption("rowData").length; } catch (error) { return 0; }
};

/* The forms' values in the address, under f: only those that were changed. */
FA.fields = {
  values: {},
  start() {
    try { FA.fields.values = JSON.parse(FA.view.state.f || "{}"); } catch (error) { FA.page.say("The fields in the address cannot be read; ignored."); }
    Object.entries(FA.fields.values).forEach(([id, value]) => { if (document.getElementById(id)) dash_clientside.set_props(id, { value: value }); });
  },
  changed(triggered) {
    triggered.forEach(({ prop_id: name, value }) => {
      const id = name.split(".")[0];
      if (value === null || value === undefined || value === "") delete FA.fields.values[id]; else FA.fields.values[id] = value;
    });
    FA.view.remember({ f: Object.keys(FA.fields.values).length ? JSON.stringify(FA.fields.values) : "" });
  },
};
