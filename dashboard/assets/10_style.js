/* The Cytoscape stylesheet for a theme, a colour mode, a key labelling and a zoom ("far" swaps small
   labels for large ones on hubs and heads). Colours come from dashboard/palette.py. */
window.FA = window.FA || {};

FA.font = "Inter, Helvetica, Arial, sans-serif";

FA.bucketField = { target: "rb", foil: "fb", entropy: "eb", contribution: "cb" };

FA.fills = function (theme, mode) {
  if (mode === "entropy") return theme.entropy.map((fill, i) => [i, fill, theme.entropy_text[i]]);
  if (mode === "contribution")
    return theme.contribution.map((fill, i) => [i - 3, fill, theme.contribution_text[i]]);
  return theme.rank
    .map((fill, i) => [i, fill, theme.rank_text[i]])
    .concat([[5, theme.bottom, theme.bottom_text]]);
};

FA.stylesheet = function (theme, options) {
  const mode = options.color, far = options.far, field = FA.bucketField[mode];
  const box = (selector, style) => ({ selector: selector, style: style });
  const sheet = [
    box("node", { "font-family": FA.font, "text-valign": "center", "text-halign": "center" }),
    box("node.d", {
      shape: "rectangle", width: "data(w)", height: "data(h)", "z-index": 0, "z-index-compare": "manual",
      events: "no", label: "", "background-opacity": 0, "border-width": 0, "overlay-opacity": 0,
    }),
    box("node.panel", {
      shape: "round-rectangle", "background-color": theme.panel, "background-opacity": 1,
      "border-width": 1, "border-color": theme.border, events: options.summary ? "yes" : "no",
    }),
    box("node.panel.over", { "border-color": theme.attention, "border-width": 2 }),
    box("node.band", { "background-color": theme.zebra, "background-opacity": 1, "z-index": 1 }),
    box("node.title, node.column, node.index", {
      label: "data(label)", color: theme.muted, "font-size": 15, "font-weight": 700, "z-index": 2,
      "text-halign": "right", "text-margin-x": -10,
    }),
    box("node.column", { "font-size": 12, "font-weight": 600, "text-halign": "center", "text-margin-x": 0 }),
    box("node.index", { "font-size": 12, "font-weight": 400, "text-halign": "left", "text-margin-x": 10 }),
    box("node.n", {
      shape: "round-rectangle", width: "data(w)", height: "data(h)", label: "data(label)", "z-index": 20,
      "z-index-compare": "manual", "font-size": 13, "font-weight": 400, "background-color": theme.panel,
      "text-wrap": "ellipsis", "text-max-width": "data(w)", color: theme.text, "border-width": 1.4, "border-color": theme.residual_mlp, "overlay-opacity": 0,
    }),
    box("node.residual", { "font-size": 15, "font-weight": 600, "border-width": 2, "border-color": theme.hub, "z-index": 24 }),
    box("node.hub", { "font-size": 15, "font-weight": 600, "border-width": 2, "border-color": theme.hub }),
    box("node.norm", { "font-size": 14, "font-weight": 600, "border-width": 2.2, "border-color": theme.norm }),
    box("node.head", { "font-weight": 600, "border-width": 1.8, "border-color": theme.attention }),
    box("node.query, node.value, node.key", { "border-width": 1.2, "border-color": theme.attention }),
    box("node.neuron", { "border-width": 1.6, "border-color": theme.positive }),
    box("node.neuron[sg='-']", { "border-color": theme.negative }),
  ];
  FA.fills(theme, mode).forEach(([bucket, fill, text]) => {
    sheet.push(box(`node.n[${field}=${bucket}]`, { "background-color": fill, color: text }));
  });
  if (mode === "target" || mode === "foil") {
    sheet.push(box(`node.n[${field}=0]`, { "font-weight": 700 }));
    sheet.push(box(`node.n[${field}=5]`, { "border-style": "dashed" }));
  }
  if (options.keys === "token") {
    sheet.push(box("node.key[memory]", {
      label: "data(memory)", "background-color": theme.panel, color: theme.attention,
      "font-style": "italic", "font-weight": 400, "border-style": "solid",
    }));
  }
  sheet.push(
    box("edge", {
      width: "data(w)", "curve-style": "straight", "line-opacity": 0.62, "z-index": 10, "z-index-compare": "manual",
      "source-endpoint": "50% 0%", "target-endpoint": "-50% 0%", "overlay-opacity": 0,
    }),
    box("edge.curve", {
      "curve-style": "unbundled-bezier", "edge-distances": "endpoints",
      "control-point-weights": "data(cw)", "control-point-distances": "data(cd)",
    }),
    box("edge.residual", { "line-color": theme.residual, "line-opacity": 0.9, "z-index": 8 }),
    box("edge.residual_mlp", { "line-color": theme.residual_mlp, "line-opacity": 0.9, "z-index": 8 }),
    box("edge.norm", { "line-color": theme.norm, "line-opacity": 0.75 }),
    box("edge.attention", { "line-color": theme.attention }),
    box("edge.positive", { "line-color": theme.positive }),
    box("edge.negative", { "line-color": theme.negative }),
    box("edge.sum", { "line-color": theme.sums[2], "line-opacity": 0.78 })
  );
  theme.sums.forEach((colour, i) => sheet.push(box(`edge.sum[sh=${i}]`, { "line-color": colour })));
  if (far && options.summary) {
    sheet.push(
      box("node.head, node.neuron", { "font-size": 17 }),
      box("node.residual, node.hub, node.norm", { "font-size": 21, "font-weight": 700 }),
      box("node.title", { "font-size": 24 })
    );
  } else if (far) {
    sheet.push(
      box("node.query, node.key, node.value, node.neuron, node.column, node.index, node.bias", { label: "" }),
      box("node.head", { "font-size": far > 1 ? 24 : 17, "font-weight": 700 }),
      box("node.residual, node.hub, node.norm", { "font-size": far > 1 ? 30 : 18, "font-weight": 700 }),
      box("node.title", { "font-size": far > 1 ? 44 : 26 }),
      box("node.n.over, node.n.picked, node.n.found", { label: "data(label)", "font-size": 22 })
    );
  }
  sheet.push(
    box("node.n.faded", { opacity: 0.13 }),
    box("edge.faded", { "line-opacity": 0.1 }),
    box("node.d.faded", { opacity: 0.45 }),
    box("node.n.token", { "border-width": 3, "border-color": theme.select }),
    box("node.n.found", { "border-width": 3.5, "border-color": theme.norm, "border-style": "solid", "z-index": 40 }),
    box("node.n.over", { "border-width": 3, "z-index": 50 }),
    box("node.n.pinned", { "border-width": 3.5, "border-style": "double", "border-color": theme.select }),
    box("node.n.picked", { "border-width": 3.5, "border-color": theme.select, "border-style": "solid", "z-index": 60 }),
    box("edge.over", { "line-opacity": 1, "z-index": 30 })
  );
  return sheet;
};
