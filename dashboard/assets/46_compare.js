/* Compare: two pictures in the same places; what is under the mouse is marked in both, wheel and drag move both. */
window.FA = window.FA || {};

FA.compare = {
  draw(data) {
    const left = document.getElementById("c-left"), right = document.getElementById("c-right");
    document.getElementById("c-note").textContent = (data && data.note) || "";
    FA.compare.data = data;
    FA.compare.shape();
    [["a", left, "A"], ["b", right, "B"]].forEach(([key, box, name]) => {
      if (!data || !data[key]) { box.replaceChildren(); return; }
      const picture = new DOMParser().parseFromString(data[key], "image/svg+xml").documentElement;
      box.replaceChildren(FA.el("h2", { dir: "auto" }, FA.el("span", { class: "fa-tag" }, name), ...FA.compare.title(data["title_" + key])), document.importNode(picture, true));
    });
    FA.compare.wire([left, right].map((box) => box.querySelector("svg")).filter(Boolean));
    document.body.dataset.compared = String(Number(document.body.dataset.compared || 0) + 1);
  },

  title(title) {
    if (title.words) return [" ", title.words, " ", FA.el("span", { class: "fa-sub" }, `mean of ${title.count.toLocaleString("en")} prompts`)];
    return [" “" + title.text + "” ", FA.el("span", { class: "fa-target" }, title.target || "␣"), " ", FA.el("span", { class: "fa-sub" }, "p " + FA.percent(title.target_prob))];
  },

  /* Groups have a map of heads beside their graphs; one of the two is shown. */
  shape(wanted) {
    if (wanted) FA.compare.wanted = wanted;
    const data = FA.compare.data, groups = Boolean(data && data.cells), mapped = groups && FA.compare.wanted === "map";
    const map = document.getElementById("c-map");
    document.getElementById("c-shapes").hidden = !groups;
    document.getElementById("c-pictures").hidden = mapped;
    map.hidden = !mapped;
    if (groups) FA.heads.table(map, { ...data, rows: data.cells }, (layer, head) => FA.compare.mark(`head.${layer}.${head}.None`)); else map.replaceChildren();
  },

  wire(pictures) {
    pictures.forEach((svg) => {
      svg.querySelectorAll(".n").forEach((node) => { const info = JSON.parse(node.dataset.info); node.dataset.place = info.place; });
      svg.addEventListener("mouseover", (event) => {
        const node = event.target.closest(".n");
        FA.compare.mark(node ? node.dataset.place : null);
        if (node) FA.hover.show(FA.nodeCard(JSON.parse(node.dataset.info), null, 6), event.clientX, event.clientY); else FA.hover.hide();
      });
      svg.addEventListener("mouseleave", () => { FA.compare.mark(null); FA.hover.hide(); });
      svg.addEventListener("wheel", (event) => {
        event.preventDefault();
        const box = svg.viewBox.baseVal, factor = Math.exp(event.deltaY * 0.0012);
        const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
        FA.compare.place(pictures, at.x - (at.x - box.x) * factor, at.y - (at.y - box.y) * factor, box.width * factor, box.height * factor);
      }, { passive: false });
      let start = null;
      svg.addEventListener("pointerdown", (event) => { const box = svg.viewBox.baseVal; start = [event.clientX, event.clientY, box.x, box.y]; svg.setPointerCapture(event.pointerId); });
      svg.addEventListener("pointermove", (event) => {
        if (!start) return;
        const box = svg.viewBox.baseVal, scale = svg.getScreenCTM().a;
        FA.compare.place(pictures, start[2] - (event.clientX - start[0]) / scale, start[3] - (event.clientY - start[1]) / scale, box.width, box.height);
      });
      svg.addEventListener("pointerup", () => { start = null; });
    });
  },

  place(pictures, x, y, w, h) { pictures.forEach((svg) => svg.setAttribute("viewBox", [x, y, w, h].join(" "))); },

  mark(place) {
    document.querySelectorAll("#c-pictures .n").forEach((node) => node.classList.toggle("over", Boolean(place) && node.dataset.place === place));
  },
};
