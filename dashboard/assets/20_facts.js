/* What a node or an edge says: DOM built with textContent only, so that a token is never markup. */
window.FA = window.FA || {};

FA.el = function (tag, attributes, ...children) {
  const element = document.createElement(tag);
  Object.entries(attributes || {}).forEach(([name, value]) => {
    if (name === "class") element.className = value;
    else if (name === "style") Object.assign(element.style, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  });
  children.flat().forEach((child) => {
    if (child === null || child === undefined || child === false) return;
    element.append(child.nodeType ? child : document.createTextNode(String(child)));
  });
  return element;
};

FA.number = function (value, digits) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e5)) return value.toExponential(1);
  return value.toLocaleString("en", { maximumFractionDigits: digits === undefined ? (size < 1 ? 3 : 2) : digits });
};

FA.percent = function (p) {
  if (p === null || p === undefined) return "–";
  const percent = 100 * p;
  return percent >= 10 ? percent.toFixed(0) + " %" : percent >= 0.1 ? percent.toFixed(1) + " %" : percent > 0 ? "<0.1 %" : "0 %";
};

FA.signed = (value) => (value > 0 ? "+" : "") + FA.number(value);

FA.rank = (rank) => (rank === null || rank === undefined ? "not among its stored tokens" : "rank " + rank.toLocaleString("en"));

FA.tokenText = function (token) {
  /* A leading space is part of most tokens: shown as a faint mark, not lost. */
  const text = FA.el("span", { class: "fa-token", dir: "auto" });
  if (token.startsWith(" ")) text.append(FA.el("i", { "aria-hidden": "true" }, "·"));
  text.append(document.createTextNode(token.trim() === "" ? token.replace(/ /g, "␣") || "∅" : token.trim()));
  return text;
};

FA.bars = function (data, count) {
  const list = FA.el("ol", { class: "fa-bars" });
  data.tok.slice(0, count).forEach((token, i) => {
    const p = data.pr && data.pr.length ? data.pr[i] : null;
    const row = FA.el("li", {}, FA.tokenText(token), p === null ? null : FA.el("b", {}, FA.percent(p)));
    if (p !== null) row.style.setProperty("--p", Math.max(100 * p, 0.5) + "%");
    list.append(row);
  });
  return list;
};

FA.pairs = function (rows) {
  const list = FA.el("dl", { class: "fa-pairs" });
  rows.filter((row) => row && row[1] !== null && row[1] !== undefined).forEach(([name, value, hint]) => {
    list.append(FA.el("div", { title: hint || null }, FA.el("dt", {}, name), FA.el("dd", {}, value)));
  });
  return list;
};

FA.nodeRows = function (data, prompt) {
  const probability = (p) => (p === null || p === undefined ? "" : ", p " + FA.percent(p));
  const foil = prompt && prompt.foil !== null && prompt.foil !== undefined;
  return [
    !prompt && data.tr !== null && data.tr !== undefined && ["target", FA.rank(data.tr) + probability(data.tp)],
    prompt && [`target “${prompt.target.trim()}”`, FA.rank(data.tr) + probability(data.tp)],
    foil && [`foil “${prompt.foil.trim()}”`, FA.rank(data.fr) + probability(data.fp)],
    data.top !== undefined && ["target in its top 10", `${FA.percent(data.top)} of ${data.n.toLocaleString("en")} prompts`],
    data.top !== undefined && ["mean p(target)", FA.percent(data.tp)],
    data.coef !== undefined && ["coefficient", FA.signed(data.coef) + (data.rk ? `, ${FA.ordinal(data.rk)} of its matrix` : "")],
    data.gate !== undefined && data.gate !== null && ["gate", FA.signed(data.gate)],
    data.up !== undefined && data.up !== null && ["up", FA.signed(data.up)],
    data.router !== undefined && data.router !== null && ["router's weight", FA.number(data.router)],
    data.co !== null && data.co !== undefined && ["contribution", FA.signed(data.co) + " logit", "direct effect on the target's logit, final norm's scale frozen"],
    data.other && ["in " + data.other.name, `${data.other.label}` + (data.other.tr ? `, rank ${data.other.tr.toLocaleString("en")}` : "")],
    data.other && data.other.co !== null && data.other.co !== undefined && ["contribution in " + data.other.name, FA.signed(data.other.co) + " logit"],
    ["norm", data.no === null || data.no === undefined ? null : FA.number(data.no)],
    ["entropy", data.en === null || data.en === undefined ? null : FA.number(data.en, 2) + " bits"],
  ];
};

FA.ordinal = (n) => n + (["th", "st", "nd", "rd"][n % 100 > 10 && n % 100 < 14 ? 0 : n % 10] || "th");

FA.nodeCard = function (data, prompt, count) {
  const negative = data.sg === "-" ? "tokens of the negative (its coefficient is negative)" : data.top !== undefined ? "most frequent top tokens, by share of prompts" : "top tokens";
  return FA.el("div", { class: "fa-card" },
    FA.el("h3", { dir: "auto" }, data.t),
    FA.el("p", { class: "fa-sub" }, negative),
    FA.bars(data, count),
    data.neg && data.neg.length && count > 6
      ? FA.el("p", { class: "fa-sub" }, data.sg === "-" ? "the row itself: " : "its negative: ", data.neg.slice(0, 6).map((t) => t.trim()).join(" · "))
      : null,
    data.uptok && data.uptok.length && count > 6
      ? FA.el("p", { class: "fa-sub" }, "up-projection: ", data.uptok.slice(0, 6).map((t) => t.trim()).join(" · "))
      : null,
    FA.pairs(FA.nodeRows(data, prompt)));
};

FA.edgeCard = function (data, source, target) {
  return FA.el("div", { class: "fa-card" },
    FA.el("h3", { dir: "auto" }, source.t, " → ", target.t),
    FA.el("p", { class: "fa-sub" }, data.ty === data.ty.toUpperCase() ? data.ty : data.ty),
    FA.pairs([
      data.sc !== undefined && [data.me, FA.number(data.sc)],
      data.rk !== undefined && ["rank", FA.ordinal(data.rk)],
      data.lo !== undefined && ["before the softmax", FA.signed(data.lo)],
      data.no !== undefined && ["norm of what it adds", FA.number(data.no)],
      data.co !== undefined && ["contribution", FA.signed(data.co) + " logit"],
      data.fc !== undefined && ["to the foil", FA.signed(data.fc) + " logit"],
    ]));
};

FA.hover = {
  show(card, x, y) {
    const tip = document.getElementById("fa-tip");
    tip.replaceChildren(card);
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(8, x + 18 + box.width > innerWidth ? x - box.width - 18 : x + 18) + "px";
    tip.style.top = Math.max(8, Math.min(y + 14, innerHeight - box.height - 8)) + "px";
  },
  hide() {
    const tip = document.getElementById("fa-tip");
    if (tip) tip.hidden = true;
  },
};

/* Path highlight over plain records {id, in: [{id, edge}], out: [...]}: walks stop at hubs, or everything
   would light up. `way` is "in", "out" or "both"; returns a set of node and edge ids. */
FA.hubs = new Set(["hub", "norm", "residual"]);

FA.path = function (start, neighbours, look, way) {
  const lit = new Set([start]);
  const walk = (from, direction) => {
    const waiting = [from], seen = new Set([from]);
    while (waiting.length) {
      const id = waiting.pop();
      if (id !== start && FA.hubs.has(look(id))) continue;
      neighbours(id, direction).forEach(([edge, next]) => {
        lit.add(edge);
        lit.add(next);
        if (!seen.has(next)) { seen.add(next); waiting.push(next); }
      });
    }
  };
  if (way !== "out") walk(start, "in");
  if (way !== "in") walk(start, "out");
  return lit;
};

/* The strongest single way from a node to an end: at every step the widest line on, never backwards. */
FA.strongest = function (start, neighbours, direction, width) {
  const lit = new Set([start]);
  let at = start;
  for (let step = 0; step < 400; step++) {
    const next = neighbours(at, direction).filter(([, id]) => !lit.has(id));
    if (!next.length) break;
    const [edge, id] = next.reduce((best, one) => (width(one[0]) > width(best[0]) ? one : best));
    lit.add(edge);
    lit.add(id);
    at = id;
  }
  return lit;
};
