/* Queries and Cypher: what was asked goes into the address, history stays in this browser. */
window.FA = window.FA || {};

FA.ask = {
  start() {
    const state = FA.view.state;
    if (state.q) {
      let given = {};
      try { given = JSON.parse(state.qp || "{}"); } catch (error) { FA.page.say("The query's parameters in the address cannot be read; ignored."); }
      dash_clientside.set_props("q-name", { data: { name: state.q, given: given } });
    }
    if (state.cy) dash_clientside.set_props("y-text", { value: state.cy });
    FA.ask.showHistory();
    document.addEventListener("click", (event) => {
      const item = event.target.closest("[data-cypher]");
      if (item) dash_clientside.set_props("y-text", { value: item.dataset.cypher });
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.id === "y-text") FA.ask.run();
    });
  },

  /* What the editor shows at this moment: its property follows typing with a delay. */
  run() {
    const text = document.getElementById("y-text").value;
    FA.ask.keep(text);
    dash_clientside.set_props("y-note", { children: "running …" });
    dash_clientside.set_props("y-question", { data: { text: text, at: Date.now() } });
  },

  history() { try { return JSON.parse(localStorage.getItem("flowatlas-cypher") || "[]"); } catch (error) { return []; } },

  keep(text) {
    const list = [text, ...FA.ask.history().filter((one) => one !== text)].slice(0, 20);
    try { localStorage.setItem("flowatlas-cypher", JSON.stringify(list)); } catch (error) { /* storage may be off */ }
    FA.ask.showHistory();
  },

  showHistory() {
    const box = document.getElementById("y-history");
    if (box) box.replaceChildren(...FA.ask.history().map((text) => FA.el("button", { class: "fa-item fa-words", "data-cypher": text, title: text }, text.replace(/\s+/g, " ").slice(0, 60))));
  },

  picked(name) {
    document.querySelectorAll("[data-query]").forEach((item) => item.setAttribute("aria-current", String(item.dataset.query === name)));
    if (name && name !== FA.view.state.q) FA.view.remember({ q: name, qp: "" });
  },

  drawn(meta, tries) {
    const element = document.getElementById("cy2"), cy = element && element._cyreg ? element._cyreg.cy : null;
    if (!cy || cy.nodes().length !== meta.boxes || cy.edges().length !== meta.lines) {
      if ((tries || 0) < 100) setTimeout(() => FA.ask.drawn(meta, (tries || 0) + 1), 20);
      return;
    }
    FA.ask.words = meta.words;
    document.body.dataset.answered = meta.asked || "";
    cy.style().fromJson(FA.stylesheet(FA.theme(), { color: "target", keys: "projection", far: 0 })).update();
    if (!cy.scratch("fa")) {
      cy.scratch("fa", true);
      cy.on("mouseover", "node", (event) => FA.hover.show(FA.nodeCard(event.target.data(), null, 6), event.originalEvent.clientX, event.originalEvent.clientY));
      cy.on("mouseover", "edge", (event) => FA.hover.show(FA.edgeCard(event.target.data(), event.target.source().data(), event.target.target().data()), event.originalEvent.clientX, event.originalEvent.clientY));
      cy.on("mouseout", "node, edge", FA.hover.hide);
    }
    cy.resize();
    cy.fit(cy.elements(), 20);
    if (meta.words && document.body.dataset.shape === "graph") FA.page.say(meta.words);
  },
};
