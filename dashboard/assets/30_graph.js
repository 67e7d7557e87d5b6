/* The graph on the page: hover, click, path, find, zoom. Everything that must be immediate happens here,
   without a word to the server. */
window.FA = window.FA || {};

FA.graph = {
  meta: null, options: { color: "target", keys: "token", summary: true, far: 0 }, picked: null, pinned: new Set(), path: null,

  cy() {
    const element = document.getElementById("cy");
    return element && element._cyreg ? element._cyreg.cy : null;
  },

  /* As in the address: only what differs from the defaults (which the server knows too). */
  query(request) {
    const standard = FA.config ? FA.config.defaults : {};
    const given = FA.view.graphKeys.map((key) => [key, request[key]]);
    const told = given.filter(([key, value]) => value !== null && value !== undefined && value !== "" && String(value) !== String(standard[key]));
    return new URLSearchParams(told).toString();
  },

  fetch(request, signal) {
    return fetch("/_flowatlas/graph?" + FA.graph.query(request), { signal }).then((reply) => {
      if (!reply.ok) throw new Error(`The server answers with ${reply.status}.`);
      return reply.json();
    });
  },

  /* Ask for what will probably be wanted next, such as the layer under the mouse. */
  ahead(request) {
    const key = FA.graph.query(request);
    if (FA.graph.next && FA.graph.next.key === key) return;
    const picture = FA.graph.fetch(request);
    picture.catch(() => {});
    FA.graph.next = { key: key, picture: picture, at: Date.now() };
  },

  /* Ask the server for a picture and draw it; only the newest request counts. */
  async load(request) {
    if (FA.graph.loading) FA.graph.loading.abort();
    const asked = FA.graph.loading = new AbortController(), next = FA.graph.next;
    FA.graph.next = null;
    let picture = null;
    try {
      if (next && next.key === FA.graph.query(request) && Date.now() - next.at < 30000) picture = await next.picture.catch(() => null);
      picture = picture || await FA.graph.fetch(request, asked.signal);
    } catch (error) {
      if (asked.signal.aborted) return;
      FA.view.asked = null;
      FA.page.busy(false);
      FA.page.say(error instanceof TypeError ? "The server does not answer." : error.message, "error");
      return;
    }
    if (!asked.signal.aborted) FA.graph.draw(picture);
  },

  /* The viewport and the stylesheet come first, so that every element is styled once and nothing is measured. */
  draw(picture) {
    const cy = FA.graph.cy();
    if (!cy) { setTimeout(() => FA.graph.draw(picture), 15); return; }
    if (!cy.scratch("fa")) FA.graph.attach(cy);
    const before = FA.graph.meta, meta = FA.graph.meta = picture.meta, made = FA.elements(picture);
    FA.graph.options.summary = meta.summary;
    if (!meta.boxes) FA.graph.picked = null;
    FA.hover.hide();
    cy.batch(() => { cy.elements().remove(); });
    FA.graph.heavy = made.length > 900;
    if (!before || before.frame !== meta.frame) FA.graph.fit();
    FA.graph.restyle();
    cy.add(made);
    FA.graph.restorePick();
    FA.graph.applyClasses();
    FA.page.status(meta);
    FA.page.layers(meta);
    dash_clientside.set_props("graph-meta", { data: meta });
    document.body.dataset.ready = String(Number(document.body.dataset.ready || 0) + 1);
    document.body.dataset.drawn = meta.key;
  },

  /* The component around Cytoscape copies every element and the viewport into the page's state; nothing reads them. */
  quiet(cy) {
    cy.off("add remove dragfree resize viewport tapstart minMaxZoomChange render");
    ["node", "edge"].forEach((kind) => cy.off("tap mouseover mouseout select unselect remove", kind));
  },

  attach(cy) {
    cy.scratch("fa", true);
    FA.graph.quiet(cy);
    cy.minZoom(0.04); cy.maxZoom(3);
    cy.on("mouseover", "node.n", (event) => {
      const point = event.originalEvent;
      event.target.addClass("over");
      FA.hover.show(FA.nodeCard(event.target.data(), FA.graph.meta.prompt, 6), point.clientX, point.clientY);
      cy.container().style.cursor = "pointer";
    });
    cy.on("mouseover", "edge", (event) => {
      const point = event.originalEvent, edge = event.target;
      edge.addClass("over");
      FA.hover.show(FA.edgeCard(edge.data(), edge.source().data(), edge.target().data()), point.clientX, point.clientY);
    });
    cy.on("mouseover", "node.panel", (event) => {
      event.target.addClass("over");
      cy.container().style.cursor = "pointer";
      const layer = event.target.data("layer");
      if (FA.graph.options.summary && layer !== null) FA.graph.ahead({ ...FA.view.request(), l: `${layer}-${layer}`, x: "" });
    });
    cy.on("mouseout", "node, edge", (event) => {
      event.target.removeClass("over");
      FA.hover.hide();
      cy.container().style.cursor = "";
    });
    cy.on("tap", "node.n", (event) => FA.graph.pick(event.target.id()));
    cy.on("tap", "node.panel", (event) => {
      const layer = event.target.data("layer");
      if (FA.graph.options.summary && layer !== null) FA.view.set({ l: `${layer}-${layer}` }, true);
    });
    cy.on("tap", (event) => { if (event.target === cy) FA.graph.pick(null); });
    cy.on("zoom", () => {
      FA.hover.hide();
      clearTimeout(FA.graph.zoomTimer);
      FA.graph.zoomTimer = setTimeout(() => FA.graph.restyle(), 120);
    });
    cy.on("pan", FA.hover.hide);
    new ResizeObserver(() => { cy.resize(); }).observe(cy.container());
  },

  farness(cy) { return FA.graph.options.summary ? (cy.zoom() < 0.46 ? 1 : 0) : cy.zoom() < 0.2 ? 2 : cy.zoom() < 0.42 ? 1 : 0; },

  /* Apply the stylesheet if anything that it depends on has changed. */
  restyle() {
    const cy = FA.graph.cy();
    if (!cy || !FA.config) return;
    const options = FA.graph.options, renderer = cy.renderer();
    options.far = FA.graph.farness(cy);
    renderer.hideEdgesOnViewport = renderer.textureOnViewport = Boolean(FA.graph.heavy);
    const now = JSON.stringify([document.documentElement.dataset.theme, options]);
    if (now === cy.scratch("fa-style")) return;
    cy.scratch("fa-style", now);
    cy.style().fromJson(FA.stylesheet(FA.theme(), options)).update();
  },

  /* The whole picture in the middle: its frame is known, so nothing has to be measured. */
  fit() {
    const cy = FA.graph.cy(), meta = FA.graph.meta;
    if (!cy || !meta || !meta.frame) return;
    cy.resize();
    const [left, top, right, bottom] = meta.frame.split(",").map(Number), room = 18;
    const zoom = Math.min((cy.width() - 2 * room) / (right - left), (cy.height() - 2 * room) / (bottom - top), 3);
    cy.viewport({ zoom: zoom, pan: { x: (cy.width() - zoom * (left + right)) / 2, y: (cy.height() - zoom * (top + bottom)) / 2 } });
    FA.graph.restyle();
  },

  zoom(factor) {
    const cy = FA.graph.cy(), box = cy.container().getBoundingClientRect();
    cy.zoom({ level: cy.zoom() * factor, renderedPosition: { x: box.width / 2, y: box.height / 2 } });
  },

  neighbours(id, direction) {
    const cy = FA.graph.cy(), node = cy.getElementById(id);
    // The residual that begins a further row is drawn again, as "id@": the way goes on at its twin.
    const twin = direction === "in" ? (id.endsWith("@") ? id.slice(0, -1) : null) : id + "@";
    const on = twin && cy.getElementById(twin).length ? [["", twin]] : [];
    return on.concat((direction === "in" ? node.incomers("edge") : node.outgoers("edge"))
      .map((edge) => [edge.id(), direction === "in" ? edge.data("source") : edge.data("target")]));
  },

  look(id) {
    const node = FA.graph.cy().getElementById(id);
    return ["hub", "norm", "residual"].find((name) => node.hasClass(name)) || "part";
  },

  pick(id) {
    FA.hover.hide();
    FA.graph.picked = id;
    FA.graph.path = id ? FA.path(id, FA.graph.neighbours, FA.graph.look, "both") : null;
    FA.graph.applyClasses();
    FA.inspector.show(id);
    FA.view.remember({ sel: id || "" });
  },

  follow(direction) {
    const cy = FA.graph.cy();
    const width = (edge) => (edge ? cy.getElementById(edge).data("w") : 99);
    FA.graph.path = FA.strongest(FA.graph.picked, FA.graph.neighbours, direction, width);
    FA.graph.applyClasses();
  },

  restorePick() {
    const wanted = FA.graph.picked || FA.view.state.sel;
    const there = wanted && FA.graph.cy().getElementById(wanted).length;
    FA.graph.picked = there ? wanted : null;
    FA.graph.path = there ? FA.path(wanted, FA.graph.neighbours, FA.graph.look, "both") : null;
    FA.inspector.show(FA.graph.picked);
  },

  /* Everything that fades or marks, in one pass: the path, a found token, a chosen input token, pins. */
  applyClasses() {
    const cy = FA.graph.cy();
    if (!cy) return;
    const lit = FA.graph.path, words = (FA.graph.search || "").trim().toLowerCase(), token = FA.graph.token;
    let found = 0, first = null;
    cy.batch(() => {
      cy.elements().removeClass("faded picked found token pinned");
      if (lit) cy.elements(".n, .e").forEach((one) => { if (!lit.has(one.id())) one.addClass("faded"); });
      if (lit) cy.nodes(".band").addClass("faded");
      if (token !== null && token !== undefined) {
        const memories = cy.nodes(".key, .value").filter((node) => node.data("source") === token);
        const kept = memories.union(memories.connectedEdges()).union(memories.neighborhood("node.n"));
        cy.elements(".n, .e").difference(kept).addClass("faded");
        memories.addClass("token");
      }
      if (words) {
        const hits = cy.nodes(".n").filter((node) => node.data("tok").slice(0, 10).some((t) => t.trim().toLowerCase() === words));
        const loose = hits.length ? hits : cy.nodes(".n").filter((node) => node.data("tok").slice(0, 10).some((t) => t.toLowerCase().includes(words)));
        loose.addClass("found");
        found = loose.length; first = loose[0];
      }
      if (FA.graph.picked) cy.getElementById(FA.graph.picked).addClass("picked");
      FA.graph.pinned.forEach((id) => cy.getElementById(id).addClass("pinned"));
    });
    FA.page.found(words ? found : null, first);
  },

  find(words) {
    FA.graph.search = words;
    FA.graph.applyClasses();
  },

  nextFound() {
    const cy = FA.graph.cy(), hits = cy.nodes(".found");
    if (!hits.length) return;
    FA.graph.foundAt = ((FA.graph.foundAt || 0) + 1) % hits.length;
    const hit = hits[FA.graph.foundAt];
    cy.animate({ center: { eles: hit }, zoom: Math.max(cy.zoom(), 0.7), duration: 200 });
    FA.inspector.show(hit.id());
  },

  showToken(position) {
    FA.graph.token = FA.graph.token === position ? null : position;
    FA.graph.picked = null; FA.graph.path = null;
    FA.graph.applyClasses();
    FA.page.tokens();
    FA.inspector.showToken(FA.graph.token);
  },
};
