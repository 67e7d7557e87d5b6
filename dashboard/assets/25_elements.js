/* What the server sends of a graph (dashboard/elements/cytoscape.py) -> Cytoscape's elements. */
window.FA = window.FA || {};

FA.elements = function (picture) {
  const sizes = FA.config.sizes, meanings = FA.config.meanings, made = [];
  (picture.panels || []).forEach(([id, look, label, layer, x, y, w, h]) => made.push({
    group: "nodes", data: { id, label, w, h, layer }, position: { x, y }, classes: ["d", look], selectable: false, grabbable: false,
  }));
  (picture.boxes || []).forEach(([id, look, label, x, y, info]) => {
    info.id = id; info.label = label; info.w = sizes[look][0]; info.h = sizes[look][1];
    made.push({ group: "nodes", data: info, position: { x, y }, classes: ["n", look] });
  });
  (picture.lines || []).forEach(([source, target, look, type, w, sh, points, info]) => {
    Object.assign(info, { id: `${type}:${source}>${target}`, source, target, w, sh, ty: type, me: meanings[type] || "score" });
    if (points) { info.cw = points[0]; info.cd = points[1]; }
    made.push({ group: "edges", data: info, classes: points ? ["e", look, "curve"] : ["e", look] });
  });
  return made;
};
