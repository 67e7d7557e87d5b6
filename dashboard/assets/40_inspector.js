/* The panel at the right: what was clicked, what flows in and out of it, and what to do with it. */
window.FA = window.FA || {};

FA.inspector = {
  show(id) {
    const panel = document.getElementById("fa-inspector"), cy = FA.graph.cy();
    if (!panel || !cy) return;
    const node = id ? cy.getElementById(id) : null;
    document.body.classList.toggle("fa-inspecting", Boolean(node && node.length));
    if (!node || !node.length) return panel.replaceChildren(FA.inspector.hint());
    const data = node.data(), meta = FA.graph.meta;
    panel.replaceChildren(
      FA.inspector.close(),
      FA.nodeCard(data, meta.prompt, 10),
      FA.inspector.actions(node),
      FA.inspector.list("Flows in", node.incomers("edge"), "source"),
      FA.inspector.list("Flows out", node.outgoers("edge"), "target"));
  },

  hint() {
    const pinned = FA.inspector.pinned();
    return FA.el("div", { class: "fa-hint" },
      FA.el("h3", {}, "Inspector"),
      FA.el("p", {}, FA.graph.options.summary
        ? "Click a layer to open it in full, or a node to see what flows through it."
        : "Hover a node for its tokens. Click it to follow its path and see what flows in and out."),
      pinned);
  },

  pinned() {
    const cy = FA.graph.cy();
    const ids = [...FA.graph.pinned].filter((id) => cy && cy.getElementById(id).length);
    if (!ids.length) return null;
    return FA.el("div", {}, FA.el("h4", {}, "Pinned"), FA.el("ul", { class: "fa-flow" },
      ids.map((id) => FA.inspector.item(cy.getElementById(id), null))));
  },

  close() {
    return FA.el("button", { class: "fa-close", "aria-label": "Close the inspector", onclick: () => FA.graph.pick(null) }, "×");
  },

  actions(node) {
    const id = node.id(), data = node.data(), pinned = FA.graph.pinned.has(id);
    const button = (label, title, action) => FA.el("button", { class: "fa-button", title: title, onclick: action }, label);
    return FA.el("div", { class: "fa-actions" },
      button("→ prediction", "The strongest way to the prediction", () => FA.graph.follow("out")),
      button("← input", "The strongest way back to the input", () => FA.graph.follow("in")),
      button(pinned ? "Unpin" : "Pin", "Keep it in the list and marked", () => {
        if (pinned) FA.graph.pinned.delete(id); else FA.graph.pinned.add(id);
        FA.graph.applyClasses(); FA.inspector.show(id);
      }),
      FA.inspector.expands(node) && button(FA.inspector.isExpanded(node) ? "Fold" : "Expand", "Show more of what it sums", () => FA.inspector.expand(node)),
      FA.graph.options.summary && data.layer >= 0
        && button(`Open layer ${data.layer}`, "Every node of this layer", () => FA.view.set({ l: `${data.layer}-${data.layer}` }, true)));
  },

  expands(node) {
    return !FA.graph.options.summary && ["head", "attention_output", "mlp_output"].includes(node.data("kind"));
  },

  isExpanded(node) { return (FA.view.state.x || "").split(",").includes(String(node.data("raw"))); },

  expand(node) {
    const raw = String(node.data("raw")), now = (FA.view.state.x || "").split(",").filter(Boolean);
    FA.view.set({ x: (now.includes(raw) ? now.filter((one) => one !== raw) : now.concat(raw)).join(","), sel: node.id() });
  },

  list(title, edges, end) {
    const sorted = edges.toArray().sort((a, b) => Math.abs(b.data("sc") || 0) - Math.abs(a.data("sc") || 0));
    if (!sorted.length) return null;
    return FA.el("section", {}, FA.el("h4", {}, title, FA.el("small", {}, ` ${sorted.length}`)),
      FA.el("ul", { class: "fa-flow" }, sorted.map((edge) => FA.inspector.item(edge[end](), edge))));
  },

  item(node, edge) {
    const data = node.data();
    const memory = data.memory && node.hasClass("key") ? data.memory : null;
    return FA.el("li", {}, FA.el("button", { onclick: () => { FA.graph.pick(node.id()); FA.graph.cy().animate({ center: { eles: node }, duration: 180 }); } },
      FA.el("span", { class: "fa-swatch", "data-rank": data.rb }),
      FA.el("span", { class: "fa-flow-token", dir: "auto" }, memory || data.label),
      FA.el("span", { class: "fa-flow-title", dir: "auto" }, data.t),
      edge && edge.data("sc") !== undefined && FA.el("span", { class: "fa-flow-score" }, FA.number(edge.data("sc")))));
  },

  showToken(position) {
    const panel = document.getElementById("fa-inspector"), cy = FA.graph.cy();
    if (position === null || position === undefined) return FA.inspector.show(null);
    const token = FA.graph.meta.tokens[position], memories = cy.nodes(".value").filter((n) => n.data("source") === position);
    const edges = memories.outgoers("edge").toArray().sort((a, b) => b.data("sc") - a.data("sc"));
    document.body.classList.add("fa-inspecting");
    panel.replaceChildren(
      FA.el("button", { class: "fa-close", "aria-label": "Close the inspector", onclick: () => FA.graph.showToken(position) }, "×"),
      FA.el("div", { class: "fa-card" },
        FA.el("h3", { dir: "auto" }, `${position} “${token.text}”`),
        FA.el("p", { class: "fa-sub" }, edges.length
          ? `Memories of this token among those shown: ${edges.length}. What each holds, by attention:`
          : "No memory of this token is among those shown. Show more memory values, or other layers.")),
      FA.el("ul", { class: "fa-flow" }, edges.map((edge) => FA.inspector.item(edge.source(), edge))));
    return undefined;
  },
};
