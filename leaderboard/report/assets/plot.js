// Shared by all figures: scales, axes, marks; drawn index the available width.
function ticks(low, high, wanted) {
  const rough = (high - low || 1) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const values = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) values.push(value);
  return { step, values };
}

function scale([low, high], [from, to]) {
  const spread = high - low || 1;
  const position = (value) => from + ((value - low) / spread) * (to - from);
  return Object.assign(position, { low, high, from, to });
}

function paddedRange(values, margin = 0.06) {
  const known = values.filter((value) => Number.isFinite(value));
  if (!known.length) return [0, 1];
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const padding = (high - low || Math.abs(high) || 1) * margin;
  return [low - padding, high + padding];
}

function tickLabel(value, step) {
  const near = Math.abs(value) < step / 1e6 ? 0 : value;
  return near.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9))).replace("-", "−");
}

function xAxis(x, bottom, top, heading) {
  const { step, values } = ticks(x.low, x.high, Math.max(3, (x.to - x.from) / 90));
  return [
    values.map((value) => svg("line", { x1: x(value), x2: x(value), y1: top, y2: bottom, class: "rule" })),
    values.map((value) => svg("text", { x: x(value), y: bottom + 16, "text-anchor": "middle" }, tickLabel(value, step))),
    svg("text", { x: (x.from + x.to) / 2, y: bottom + 34, "text-anchor": "middle", class: "quiet" }, heading),
  ];
}

function yAxis(y, left, right, heading) {
  const { step, values } = ticks(y.low, y.high, 6);
  return [
    values.map((value) => svg("line", { x1: left, x2: right, y1: y(value), y2: y(value), class: "rule" })),
    values.map((value) => svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, tickLabel(value, step))),
    svg("text", { x: left, y: y.to - 10, class: "quiet" }, heading),
  ];
}

// Methods differ in shape and in colour.
function mark(x, y, index, { hollow = false, size = 5 } = {}) {
  const attributes = { class: `mark ${hue(index)}${hollow ? " hollow" : ""}` };
  const points = {
    1: [[-1, -1], [1, -1], [1, 1], [-1, 1]],
    2: [[0, -1.25], [1.15, 0.9], [-1.15, 0.9]],
    3: [[0, -1.35], [1.35, 0], [0, 1.35], [-1.35, 0]],
  }[(index + Math.floor(index / 12)) % 4];
  if (!points) return svg("circle", { ...attributes, cx: x, cy: y, r: size });
  const corners = points.map(([dx, dy]) => `${x + dx * size},${y + dy * size}`).join(" ");
  return svg("polygon", { ...attributes, points: corners });
}

const whisker = (x1, y1, x2, y2, index) =>
  svg("line", { x1, y1, x2, y2, class: `stroke ${hue(index)}` });

function legend(labels, indices = labels.map((_, i) => i)) {
  const marks = labels.map((label, i) => [label, indices[i]]);
  return el("ul", { class: "legend" }, marks.map(([label, index]) =>
    el("li", {}, svg("svg", { width: 16, height: 16, "aria-hidden": "true" }, mark(8, 8, index)), " ", isolated(label))));
}

const shortened = (label, limit) => (label.length > limit ? `${label.slice(0, limit - 1)}…` : label);

const observer = new ResizeObserver((entries) => {
  for (const { target } of entries) target.redraw?.();
});

// `draw(width)` returns [height, nodes]; the figure is redrawn when its width changes.
function figure(label, draw, ...below) {
  const box = el("figure", {});
  const holder = el("div");
  box.append(holder, ...below.flat().filter(Boolean));
  box.redraw = () => {
    const width = Math.max(280, Math.min(900, Math.floor(box.clientWidth)));
    if (!box.clientWidth || width === box.drawn) return;
    box.drawn = width;
    const [height, nodes] = draw(width);
    const size = { width, height, viewBox: `0 0 ${width} ${height}` };
    holder.replaceChildren(populate(svg("svg", { ...size, role: "img", "aria-label": label }), {}, nodes.flat(9)));
  };
  observer.observe(box);
  return box;
}
