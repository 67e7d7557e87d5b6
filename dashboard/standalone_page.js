/* The standalone page: the SVG with hover, click, path highlight, zoom and pan. */
(function () {
  const about = JSON.parse(document.getElementById("about").textContent);
  const stage = document.getElementById("stage"), svg = stage.querySelector("svg"), panel = document.getElementById("fa-inspector");
  document.getElementById("head").append(
    FA.el("b", { dir: "auto" }, "“" + about.text + "”"), "→", FA.el("span", { class: "target", dir: "auto" }, about.target.trim() || "␣"),
    FA.el("span", { class: "fa-sub" }, `rank ${about.rank} · p ${FA.percent(about.p)}`),
    FA.el("span", { class: "fa-sub" }, [about.note, about.showing].filter(Boolean).join(" · ")));

  const boxes = new Map(), lines = new Map(), into = new Map(), out = new Map();
  const note = (map, key, value) => { if (!map.has(key)) map.set(key, []); map.get(key).push(value); };
  svg.querySelectorAll(".n").forEach((one) => boxes.set(one.id, { element: one, data: JSON.parse(one.dataset.info) }));
  svg.querySelectorAll(".e").forEach((one, i) => {
    const data = JSON.parse(one.dataset.info), id = "e" + i;
    lines.set(id, { element: one, data: data });
    one.dataset.line = id;
    note(into, data.t, [id, data.s]);
    note(out, data.s, [id, data.t]);
  });
  // The residual that begins a further row is drawn again, as "id@": the way goes on at its twin.
  const neighbours = (id, direction) => {
    const twin = direction === "in" ? (id.endsWith("@") ? id.slice(0, -1) : null) : id + "@";
    return (boxes.has(twin) ? [["", twin]] : []).concat((direction === "in" ? into : out).get(id) || []);
  };
  const look = (id) => ["hub", "norm", "residual"].find((name) => boxes.get(id).element.classList.contains(name)) || "part";

  function pick(id) {
    const lit = id ? FA.path(id, neighbours, look, "both") : null;
    const mark = (map) => map.forEach((one, key) => {
      one.element.classList.toggle("faded", Boolean(lit) && !lit.has(key));
      one.element.classList.toggle("picked", key === id);
    });
    mark(boxes); mark(lines);
    panel.hidden = !id;
    if (id) panel.replaceChildren(FA.nodeCard(boxes.get(id).data, about, 10));
  }

  let view = svg.viewBox.baseVal, start = null, moved = false;
  const home = [view.x, view.y, view.width, view.height];
  const place = (x, y, w, h) => { view.x = x; view.y = y; view.width = w; view.height = h; };
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const factor = Math.exp(event.deltaY * 0.0012), point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    place(point.x - (point.x - view.x) * factor, point.y - (point.y - view.y) * factor, view.width * factor, view.height * factor);
    FA.hover.hide();
  }, { passive: false });
  stage.addEventListener("pointerdown", (event) => { start = [event.clientX, event.clientY, view.x, view.y]; moved = false; });
  addEventListener("pointermove", (event) => {
    if (!start) return;
    const scale = svg.getScreenCTM().a, dx = event.clientX - start[0], dy = event.clientY - start[1];
    moved = moved || Math.hypot(dx, dy) > 4;
    if (moved) { stage.classList.add("moving"); place(start[2] - dx / scale, start[3] - dy / scale, view.width, view.height); }
  });
  addEventListener("pointerup", () => { start = null; stage.classList.remove("moving"); });
  stage.addEventListener("click", (event) => {
    if (moved) return;
    const box = event.target.closest(".n");
    pick(box ? box.id : null);
  });
  stage.addEventListener("mouseover", (event) => {
    const box = event.target.closest(".n"), line = event.target.closest(".e");
    if (box) FA.hover.show(FA.nodeCard(boxes.get(box.id).data, about, 6), event.clientX, event.clientY);
    else if (line) {
      const data = lines.get(line.dataset.line).data;
      FA.hover.show(FA.edgeCard(data, boxes.get(data.s).data, boxes.get(data.t).data), event.clientX, event.clientY);
    } else FA.hover.hide();
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") pick(null);
    if (event.key === "0") place(...home);
    const zoom = { "+": 0.8, "=": 0.8, "-": 1.25 }[event.key];
    if (zoom) place(view.x + view.width * (1 - zoom) / 2, view.y + view.height * (1 - zoom) / 2, view.width * zoom, view.height * zoom);
  });
  document.body.dataset.ready = "1";
})();
