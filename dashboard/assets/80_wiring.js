/* Buttons that need no server: fit, theme, help. Bound once the page is there. */
document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || !window.FA || !FA.config) return;
  const actions = {
    "g-fit": FA.graph.fit,
    "theme-flip": FA.page.flip,
    "help-open": () => { document.getElementById("fa-help").hidden = false; },
    "p-open": () => FA.view.set({ p: FA.chosen[0], tab: "graph" }, true),
    "p-compare": () => FA.view.set({ a: FA.chosen[0], b: FA.chosen[1], tab: "compare" }, true),
    "p-csv": () => dash_clientside.set_props("p-grid", { exportDataAsCsv: true }),
    "g-export-png": () => {
      const cy = FA.graph.cy(), link = document.createElement("a");
      link.href = cy.png({ full: true, scale: cy.elements().boundingBox().w > 6000 ? 1 : 2, bg: FA.theme().page, maxWidth: 12000, maxHeight: 12000 });
      link.download = `flowatlas-prompt-${FA.view.state.p}.png`;
      link.click();
    },
    "h-csv": () => dash_clientside.set_props("h-grid", { exportDataAsCsv: true }),
    "q-csv": () => dash_clientside.set_props("q-grid", { exportDataAsCsv: true }),
    "y-csv": () => dash_clientside.set_props("y-grid", { exportDataAsCsv: true }),
    "y-run": () => FA.ask.run(),
    "q-run": () => dash_clientside.set_props("q-note", { children: "running …" }),
    "c-csv": () => dash_clientside.set_props("c-grid", { exportDataAsCsv: true }),
    "g-overview": () => FA.view.set({ l: "all" }, true),
  };
  if (actions[button.id]) actions[button.id]();
});
document.addEventListener("click", (event) => { if (event.target.id === "fa-help") event.target.hidden = true; });
