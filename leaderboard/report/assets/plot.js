// What all figures share: scales, axes, marks; drawn at the width that there is.
function ticks(low, high, wanted) {
  const rough = (high - low || 1) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(at);
  return { step, found };
}

function scale([low, high], [from, to]) {
  const spread = high - low || 1;
  const at = (value) => from + ((value - low) / spread) * (to - from);
  return Object.assign(at, { low, high, from, to });
}

function spanned(values, margin = 0.06) {
  const known = values.filter((value) => Number.isFinite(value));
  if (!known.length) return [0, 1];
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const room = (high - low || Math.abs(high) || 1) * margin;
  return [low - room, high + room];
}

function printed(value, step) {
  const near = Math.abs(value) < step / 1e6 ? 0 : value;
  return near.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9))).replace("-", "−");
}

function across(x, bottom, top, heading) {
  const { step, found } = ticks(x.low, x.high, Math.max(3, (x.to - x.from) / 90));
  return [
    found.map((at) => svg("line", { x1: x(at), x2: x(at), y1: top, y2: bottom, class: "rule" })),
    found.map((at) => svg("text", { x: x(at), y: bottom + 16, "text-anchor": "middle" }, printed(at, step))),
    svg("text", { x: (x.from + x.to) / 2, y: bottom + 34, "text-anchor": "middle", class: "quiet" }, heading),
  ];
}

function upward(y, left, right, heading) {
  const { step, found } = ticks(y.low, y.high, 6);
  return [
    found.map((at) => svg("line", { x1: left, x2: right, y1: y(at), y2: y(at), class: "rule" })),
    found.map((at) => svg("text", { x: left - 6, y: y(at) + 4, "text-anchor": "end" }, printed(at, step))),
    svg("text", { x: left, y: y.to - 10, class: "quiet" }, heading),
  ];
}

// Shape and colour both tell methods apart.
function mark(x, y, at, { hollow = false, size = 5 } = {}) {
  const attributes = { class: `mark ${hue(at)}${hollow ? " hollow" : ""}` };
  const points = {
    1: [[-1, -1], [1, -1], [1, 1], [-1, 1]],
    2: [[0, -1.25], [1.15, 0.9], [-1.15, 0.9]],
    3: [[0, -1.35], [1.35, 0], [0, 1.35], [-1.35, 0]],
  }[(at + Math.floor(at / 12)) % 4];
  if (!points) return svg("circle", { ...attributes, cx: x, cy: y, r: size });
  const corners = points.map(([dx, dy]) => `${x + dx * size},${y + dy * size}`).join(" ");
  return svg("polygon", { ...attributes, points: corners });
}

const whisker = (x1, y1, x2, y2, at) =>
  svg("line", { x1, y1, x2, y2, class: `stroke ${hue(at)}` });

function legend(labels, places = labels.map((_, at) => at)) {
  const marks = labels.map((label, i) => [label, places[i]]);
  return el("ul", { class: "legend" }, marks.map(([label, at]) =>
    el("li", {}, svg("svg", { width: 16, height: 16, "aria-hidden": "true" }, mark(8, 8, at)), " ", called(label))));
}

const short = (label, most) => (label.length > most ? `${label.slice(0, most - 1)}…` : label);

const observer = new ResizeObserver((entries) => {
  for (const { target } of entries) target.redraw?.();
});

// `draw(width)` returns [height, nodes]; the figure is drawn again where its width changes.
function figure(told, draw, ...below) {
  const box = el("figure", {});
  const holder = el("div");
  box.append(holder, ...below.flat().filter(Boolean));
  box.redraw = () => {
    const width = Math.max(280, Math.min(900, Math.floor(box.clientWidth)));
    if (!box.clientWidth || width === box.drawn) return;
    box.drawn = width;
    const [height, nodes] = draw(width);
    const size = { width, height, viewBox: `0 0 ${width} ${height}` };
    holder.replaceChildren(filled(svg("svg", { ...size, role: "img", "aria-label": told }), {}, nodes.flat(9)));
  };
  observer.observe(box);
  return box;
}
