/* The map of heads: a table of buttons coloured by value, amber for more, blue and red for signed values. */
window.FA = window.FA || {};

FA.heads = {
  draw(data) {
    const box = document.getElementById("h-map");
    document.getElementById("h-token-box").hidden = !data || data.measure !== "attention";
    document.getElementById("h-note").textContent = data ? data.note : "";
    if (!data || !data.rows.length) { box.replaceChildren(FA.el("p", { class: "fa-note" }, data ? data.note : "")); return; }
    FA.heads.table(box, data, FA.heads.open);
    const asked = /^(\d+)\.(\d+)$/.exec(FA.view.state.hs || "");
    if (FA.heads.cell) FA.heads.mark();
    else if (asked) FA.heads.open(Number(asked[1]), Number(asked[2]));
  },

  /* Layers from the bottom up, heads from the left: a button for every head. */
  table(box, data, click) {
    if (!data.rows.length) { box.replaceChildren(); return; }
    const heads = Math.max(...data.rows.map((row) => row.head)) + 1, layers = Math.max(...data.rows.map((row) => row.layer)) + 1;
    const most = Math.max(...data.rows.map((row) => Math.abs(row.value || 0)), 1e-9);
    const at = new Map(data.rows.map((row) => [row.layer + ":" + row.head, row]));
    const share = data.measure === "promotes" || data.measure === "demotes";
    const words = (row) => (share ? FA.percent(row.value) : data.measure === "contribution" ? FA.signed(row.value) : FA.number(row.value));
    const lines = [];
    for (let layer = layers - 1; layer >= 0; layer--) {
      const cells = [FA.el("span", { class: "fa-map-name", role: "rowheader" }, "layer " + layer)];
      for (let head = 0; head < heads; head++) {
        const row = at.get(layer + ":" + head);
        if (!row) { cells.push(FA.el("span", { role: "gridcell" })); continue; }
        const cell = FA.el("button", {
          class: "fa-cell", role: "gridcell", "data-layer": layer, "data-head": head, "data-value": row.value,
          title: `layer ${layer}, head ${head}: ${data.words} ${words(row)} (${row.prompts} prompts)`, onclick: () => click(layer, head),
        }, words(row));
        const strength = Math.min(Math.abs(row.value || 0) / (share || data.measure === "attention" ? Math.max(most, share ? 0.2 : 0.05) : most), 1);
        cell.style.setProperty("--s", (100 * strength).toFixed(0) + "%");
        cell.dataset.tone = data.measure === "contribution" ? (row.value < 0 ? "down" : "up") : "more";
        cells.push(cell);
      }
      lines.push(FA.el("div", { class: "fa-map-row", role: "row" }, cells));
    }
    const names = [FA.el("span", { class: "fa-map-name", role: "columnheader" }, "head")];
    for (let head = 0; head < heads; head++) names.push(FA.el("span", { role: "columnheader", class: "fa-map-head" }, String(head)));
    lines.push(FA.el("div", { class: "fa-map-row", role: "row" }, names));
    box.replaceChildren(...lines);
  },

  open(layer, head) {
    FA.heads.cell = { layer: layer, head: head };
    FA.heads.mark();
    document.getElementById("h-title").textContent = `Layer ${layer}, head ${head} over the prompts`;
    dash_clientside.set_props("h-cell", { data: FA.heads.cell });
    FA.view.remember({ hs: `${layer}.${head}` });
  },

  mark() {
    document.querySelectorAll(".fa-cell").forEach((cell) => cell.setAttribute("aria-current",
      String(Number(cell.dataset.layer) === FA.heads.cell.layer && Number(cell.dataset.head) === FA.heads.cell.head)));
  },
};
