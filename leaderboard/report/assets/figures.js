// Figures of the table's rows: length, breakdown, wins, position bias, cost.
const metricOf = (group, name) => group.metrics.find((metric) => metric.name === name);

function labelWidth(rows, width) {
  const longest = Math.max(...rows.map((row) => row.length));
  return Math.min(width * 0.38, 7 * Math.min(longest, 34) + 16);
}

const fitted = (label, left) => shortened(label, Math.max(6, Math.floor((left - 12) / 6.6)));

function lengthFigure(group) {
  const raw = group.metrics.find((metric) => metric.name === group.raw);
  const controlled = metricOf(group, group.controlled);
  const known = raw && group.rows.filter((row) => row.length !== null && row.figures[raw.name]);
  if (!known?.length) return null;
  const best = (row) => (controlled && row.figures[controlled.name]) || row.figures[raw.name];
  const caption = controlled
    ? "Filled: controlled for length, with an ellipse of the 95 % intervals; hollow: raw; the arrow is the effect of the control."
    : "Ellipses: 95 % intervals of length and figure.";
  const draw = (width) => {
    const height = 420, left = 52, right = width - 12, bottom = height - 44;
    const x = scale(paddedRange(known.flatMap((row) => [row.length - 2 * (row.length_error || 0), row.length + 2 * (row.length_error || 0)])), [left, right]);
    const y = scale(paddedRange(known.flatMap((row) => [row.figures[raw.name].value, best(row).low, best(row).high, best(row).value])), [bottom, 24]);
    return [height, [xAxis(x, bottom, 24, "mean length, characters"), yAxis(y, left, right, (controlled || raw).heading),
      known.filter((row) => row.control).map((row) => controlLine(best(row).value, y, left, right)),
      known.map((row) => point(row, group.rows.indexOf(row), x, y, row.figures[raw.name], best(row))),
      placedLabels(known.map((row) => [x(row.length), y(best(row).value), row.label]), right)]];
  };
  const rows = known.map((row) => [row.label, fixed(row.length, 0), interval(row.figures[raw.name], raw.digits), interval(best(row), raw.digits)]);
  return figure("Figure against mean length of the answers", draw, el("figcaption", {}, caption),
    legend(group.rows.map((row) => row.label)), numbersTable(["method", "mean length", raw.heading, (controlled || raw).heading], rows));
}

function point(row, index, x, y, raw, best) {
  const position = [x(row.length), y(best.value)];
  const ry = best.low === null ? 0 : Math.abs(y(best.high) - y(best.low)) / 2;
  const rx = row.length_error ? Math.max(1, x(row.length + 1.96 * row.length_error) - position[0]) : 1;
  const ellipse = svg("ellipse", { cx: position[0], cy: best.low === null ? position[1] : (y(best.high) + y(best.low)) / 2, rx, ry, class: `ellipse ${hue(index)}` });
  const arrow = raw === best ? [] : [whisker(position[0], y(raw.value), ...position, index), arrowHead(position[0], y(raw.value), position[1], index),
    mark(position[0], y(raw.value), index, { hollow: true, size: 4 })];
  return [ellipse, arrow, mark(...position, index)];
}

// The figure of a control that answers nothing: a method must score above it.
const controlLine = (value, y, left, right) => [
  svg("line", { x1: left, x2: right, y1: y(value), y2: y(value), class: "zero" }),
  svg("text", { x: right, y: y(value) - 4, "text-anchor": "end", class: "quiet" }, "control: answers nothing")];

// Names beside their points, moved apart where they would overlap.
function placedLabels(points, right) {
  const occupied = points.map(([x, y]) => ({ y: y + 4, from: x - 7, to: x + 7 }));
  return [...points].sort((a, b) => b[1] - a[1]).map(([x, y, label]) => {
    const text = shortened(label, 26), wide = text.length * 6.6, far = x > right - wide - 12;
    const from = far ? x - 9 - wide : x + 9;
    let top = y - 7;
    while (occupied.some((box) => Math.abs(box.y - top) < 13 && from < box.to && box.from < from + wide)) top -= 2;
    occupied.push({ y: top, from, to: from + wide });
    return svg("text", { x: far ? x - 9 : from, y: top, "text-anchor": far ? "end" : "start" }, text);
  });
}

function arrowHead(x, from, to, index) {
  if (Math.abs(to - from) < 16) return [];
  const back = to > from ? -6 : 6;
  const tip = to + back;
  return svg("polygon", { points: `${x},${tip} ${x - 4},${tip + back} ${x + 4},${tip + back}`, class: `mark ${hue(index)}` });
}

function breakdownFigure(group, breakdown) {
  const few = breakdown.parts.length <= 12;
  const metric = metricOf(group, breakdown.metric) || { digits: 1, heading: breakdown.metric };
  const rows = breakdown.parts.map((part, index) =>
    [`${part.name} (${part.n})`, ...breakdown.cells.map((cells) => interval(cells[index], metric.digits))]);
  const numbers = numbersTable([breakdown.by, ...group.rows.map((row) => row.label)], rows);
  if (!few) return [el("p", {}, `${breakdown.parts.length} parts: too many for a figure.`), numbers];
  const draw = (width) => {
    const names = breakdown.parts.map((part) => `${part.name} (${part.n})`);
    const left = labelWidth(names, width), step = Math.max(24, group.rows.length * 9 + 10), top = 8;
    const bottom = top + step * names.length;
    const values = breakdown.cells.flat().filter(Boolean).flatMap((cell) => [cell.value, cell.low ?? cell.value, cell.high ?? cell.value]);
    const x = scale(paddedRange(values), [left, width - 12]);
    const dots = breakdown.parts.map((_, part) => breakdown.cells.map((cells, index) =>
      dot(cells[part], x, top + step * part + 10 + 9 * index, index)));
    const bands = names.map((name, index) => [svg("text", { x: left - 8, y: top + step * (index + 0.5) + 4, "text-anchor": "end" }, fitted(name, left)),
      svg("line", { x1: 0, x2: width, y1: top + step * index, y2: top + step * index, class: "rule" })]);
    return [bottom + 44, [xAxis(x, bottom, top, metric.heading), bands, dots]];
  };
  return figure(`${metric.heading} by ${breakdown.by}`, draw, legend(group.rows.map((row) => row.label)), numbers);
}

function dot(cell, x, y, index) {
  if (!cell) return [];
  const bar = cell.low === null ? [] : whisker(x(cell.low), y, x(cell.high), y, index);
  return [bar, mark(x(cell.value), y, index, { size: 3.5 })];
}

function winFigure(group) {
  const rows = group.rows.filter((row) => row.outcomes);
  if (!rows.length) return null;
  const draw = (width) => {
    const left = labelWidth(rows.map((row) => row.label), width), step = 28;
    const bars = rows.map((row, index) => {
      const total = row.outcomes.reduce((sum, n) => sum + n, 0) || 1;
      const edges = [0, row.outcomes[0], row.outcomes[0] + row.outcomes[1], total].map((n) => left + (n / total) * (width - left - 4));
      const parts = ["win", "tie", "loss"].map((name, part) => [
        svg("rect", { x: edges[part], y: index * step + 4, width: edges[part + 1] - edges[part], height: 20, class: `bar-${name}` },
          svg("title", {}, `${name}: ${row.outcomes[part]} of ${total}`))]);
      return [svg("text", { x: left - 8, y: index * step + 18, "text-anchor": "end" }, fitted(row.label, left)), parts];
    });
    return [rows.length * step + 8, bars];
  };
  const key = el("ul", { class: "legend" }, ["win", "tie", "loss"].map((name) =>
    el("li", {}, svg("svg", { width: 16, height: 12, "aria-hidden": "true" }, svg("rect", { width: 16, height: 12, class: `bar-${name}` })), ` ${name}`)));
  return figure("Wins, ties and losses", draw, key,
    numbersTable(["method", "wins", "ties", "losses", "unparsed"], rows.map((row) => [row.label, ...row.outcomes.map(String), String(row.unparsed)])));
}

function positionBiasFigure(group) {
  const rows = group.rows.filter((row) => row.order);
  if (!rows.length) return null;
  const draw = (width) => {
    const left = labelWidth(rows.map((row) => row.label), width), step = 24, bottom = rows.length * step + 8;
    const x = scale([0, 100], [left, width - 14]);
    const lines = rows.map((row, index) => [
      svg("text", { x: left - 8, y: index * step + 20, "text-anchor": "end" }, fitted(row.label, left)),
      dot(row.order.first, x, index * step + 16, 0),
      row.order.consistent ? dot(row.order.consistent, x, index * step + 16, 1) : []]);
    return [bottom + 44, [xAxis(x, bottom, 4, "%"), svg("line", { x1: x(50), x2: x(50), y1: 4, y2: bottom, class: "zero" }), lines]];
  };
  return figure("Position bias of the judge", draw,
    legend(["won by the first answer: 50 % without a bias", "same winner when the answers are swapped"]
      .slice(0, rows.some((row) => row.order.consistent) ? 2 : 1)),
    numbersTable(["method", "first answer wins %", "games", "same winner under swap %", "pairs"], rows.map((row) =>
      [row.label, interval(row.order.first, 1), row.order.first.n, interval(row.order.consistent, 1), row.order.consistent?.n ?? DASH])));
}

function costFigures(group) {
  const metric = metricOf(group, group.controlled) || metricOf(group, group.raw);
  const kinds = [["dollars", "dollars for judging"], ["gpu_hours", "GPU hours"]];
  return kinds.map(([name, heading]) => {
    const rows = group.rows.filter((row) => row[name] !== null && metric && row.figures[metric.name]);
    if (!rows.length) return null;
    const draw = (width) => {
      const height = 320, left = 52, bottom = height - 44;
      const x = scale(paddedRange(rows.map((row) => row[name])), [left, width - 12]);
      const y = scale(paddedRange(rows.map((row) => row.figures[metric.name].value), 0.15), [bottom, 24]);
      return [height, [xAxis(x, bottom, 24, heading), yAxis(y, left, width - 12, metric.heading),
        rows.map((row) => [mark(x(row[name]), y(row.figures[metric.name].value), group.rows.indexOf(row)),
          svg("text", { x: x(row[name]) + 9, y: y(row.figures[metric.name].value) - 7 }, shortened(row.label, 24))])]];
    };
    return figure(`${metric.heading} against ${heading}`, draw,
      numbersTable(["method", heading, metric.heading], rows.map((row) => [row.label, fixed(row[name], 2), interval(row.figures[metric.name], metric.digits)])));
  }).filter(Boolean);
}
