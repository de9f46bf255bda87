// Figures of the table's rows: length, breakdown, wins, the judge's places, cost.
const metricOf = (group, name) => group.metrics.find((metric) => metric.name === name);

function room(rows, width) {
  const longest = Math.max(...rows.map((row) => row.length));
  return Math.min(width * 0.38, 7 * Math.min(longest, 34) + 16);
}

const fitting = (label, left) => short(label, Math.max(6, Math.floor((left - 12) / 6.6)));

function lengths(group) {
  const raw = group.metrics.find((metric) => metric.name === group.raw);
  const controlled = metricOf(group, group.controlled);
  const told = raw && group.rows.filter((row) => row.length !== null && row.figures[raw.name]);
  if (!told?.length) return null;
  const best = (row) => (controlled && row.figures[controlled.name]) || row.figures[raw.name];
  const caption = controlled
    ? "Filled: controlled for length, with the ellipse of its 95 % intervals; hollow: raw; the arrow is what control changes."
    : "Ellipses: 95 % intervals of length and figure.";
  const draw = (width) => {
    const height = 420, left = 52, right = width - 12, bottom = height - 44;
    const x = scale(spanned(told.flatMap((row) => [row.length - 2 * (row.length_error || 0), row.length + 2 * (row.length_error || 0)])), [left, right]);
    const y = scale(spanned(told.flatMap((row) => [row.figures[raw.name].value, best(row).low, best(row).high, best(row).value])), [bottom, 24]);
    return [height, [across(x, bottom, 24, "mean length, characters"), upward(y, left, right, (controlled || raw).heading),
      told.filter((row) => row.control).map((row) => control(best(row).value, y, left, right)),
      told.map((row) => point(row, group.rows.indexOf(row), x, y, row.figures[raw.name], best(row))),
      labelled(told.map((row) => [x(row.length), y(best(row).value), row.label]), right)]];
  };
  const rows = told.map((row) => [row.label, fixed(row.length, 0), interval(row.figures[raw.name], raw.digits), interval(best(row), raw.digits)]);
  return figure("Figure against mean length of the answers", draw, el("figcaption", {}, caption),
    legend(group.rows.map((row) => row.label)), plain(["method", "mean length", raw.heading, (controlled || raw).heading], rows));
}

function point(row, at, x, y, raw, best) {
  const place = [x(row.length), y(best.value)];
  const ry = best.low === null ? 0 : Math.abs(y(best.high) - y(best.low)) / 2;
  const rx = row.length_error ? Math.max(1, x(row.length + 1.96 * row.length_error) - place[0]) : 1;
  const ellipse = svg("ellipse", { cx: place[0], cy: best.low === null ? place[1] : (y(best.high) + y(best.low)) / 2, rx, ry, class: `ellipse ${hue(at)}` });
  const arrow = raw === best ? [] : [whisker(place[0], y(raw.value), ...place, at), head(place[0], y(raw.value), place[1], at),
    mark(place[0], y(raw.value), at, { hollow: true, size: 4 })];
  return [ellipse, arrow, mark(...place, at)];
}

// What answering nothing earns: a method has to lie above it.
const control = (value, y, left, right) => [
  svg("line", { x1: left, x2: right, y1: y(value), y2: y(value), class: "zero" }),
  svg("text", { x: right, y: y(value) - 4, "text-anchor": "end", class: "quiet" }, "control: answers nothing")];

// Names beside their points, moved apart where they would lie on each other.
function labelled(points, right) {
  const set = points.map(([x, y]) => ({ at: y + 4, from: x - 7, to: x + 7 }));
  return [...points].sort((a, b) => b[1] - a[1]).map(([x, y, label]) => {
    const text = short(label, 26), wide = text.length * 6.6, far = x > right - wide - 12;
    const from = far ? x - 9 - wide : x + 9;
    let at = y - 7;
    while (set.some((other) => Math.abs(other.at - at) < 13 && from < other.to && other.from < from + wide)) at -= 2;
    set.push({ at, from, to: from + wide });
    return svg("text", { x: far ? x - 9 : from, y: at, "text-anchor": far ? "end" : "start" }, text);
  });
}

function head(x, from, to, at) {
  if (Math.abs(to - from) < 16) return [];
  const back = to > from ? -6 : 6;
  const tip = to + back;
  return svg("polygon", { points: `${x},${tip} ${x - 4},${tip + back} ${x + 4},${tip + back}`, class: `mark ${hue(at)}` });
}

function breakdown(group, found) {
  const few = found.parts.length <= 12;
  const metric = metricOf(group, found.metric) || { digits: 1, heading: found.metric };
  const rows = found.parts.map((part, at) =>
    [`${part.name} (${part.n})`, ...found.cells.map((cells) => interval(cells[at], metric.digits))]);
  const numbers = plain([found.by, ...group.rows.map((row) => row.label)], rows);
  if (!few) return [el("p", {}, `${found.parts.length} parts: too many to draw.`), numbers];
  const draw = (width) => {
    const names = found.parts.map((part) => `${part.name} (${part.n})`);
    const left = room(names, width), step = Math.max(24, group.rows.length * 9 + 10), top = 8;
    const bottom = top + step * names.length;
    const values = found.cells.flat().filter(Boolean).flatMap((cell) => [cell.value, cell.low ?? cell.value, cell.high ?? cell.value]);
    const x = scale(spanned(values), [left, width - 12]);
    const dots = found.parts.map((_, part) => found.cells.map((cells, at) =>
      dot(cells[part], x, top + step * part + 10 + 9 * at, at)));
    const bands = names.map((name, at) => [svg("text", { x: left - 8, y: top + step * (at + 0.5) + 4, "text-anchor": "end" }, fitting(name, left)),
      svg("line", { x1: 0, x2: width, y1: top + step * at, y2: top + step * at, class: "rule" })]);
    return [bottom + 44, [across(x, bottom, top, metric.heading), bands, dots]];
  };
  return figure(`${metric.heading} by ${found.by}`, draw, legend(group.rows.map((row) => row.label)), numbers);
}

function dot(cell, x, y, at) {
  if (!cell) return [];
  const bar = cell.low === null ? [] : whisker(x(cell.low), y, x(cell.high), y, at);
  return [bar, mark(x(cell.value), y, at, { size: 3.5 })];
}

function wins(group) {
  const rows = group.rows.filter((row) => row.decided);
  if (!rows.length) return null;
  const draw = (width) => {
    const left = room(rows.map((row) => row.label), width), step = 28;
    const bars = rows.map((row, at) => {
      const all = row.decided.reduce((sum, n) => sum + n, 0) || 1;
      const edges = [0, row.decided[0], row.decided[0] + row.decided[1], all].map((n) => left + (n / all) * (width - left - 4));
      const parts = ["win", "tie", "loss"].map((name, part) => [
        svg("rect", { x: edges[part], y: at * step + 4, width: edges[part + 1] - edges[part], height: 20, class: `bar-${name}` },
          svg("title", {}, `${name}: ${row.decided[part]} of ${all}`))]);
      return [svg("text", { x: left - 8, y: at * step + 18, "text-anchor": "end" }, fitting(row.label, left)), parts];
    });
    return [rows.length * step + 8, bars];
  };
  const key = el("ul", { class: "legend" }, ["win", "tie", "loss"].map((name) =>
    el("li", {}, svg("svg", { width: 16, height: 12, "aria-hidden": "true" }, svg("rect", { width: 16, height: 12, class: `bar-${name}` })), ` ${name}`)));
  return figure("Wins, ties and losses", draw, key,
    plain(["method", "wins", "ties", "losses", "unread"], rows.map((row) => [row.label, ...row.decided.map(String), String(row.unread)])));
}

function places(group) {
  const rows = group.rows.filter((row) => row.order);
  if (!rows.length) return null;
  const draw = (width) => {
    const left = room(rows.map((row) => row.label), width), step = 24, bottom = rows.length * step + 8;
    const x = scale([0, 100], [left, width - 14]);
    const lines = rows.map((row, at) => [
      svg("text", { x: left - 8, y: at * step + 20, "text-anchor": "end" }, fitting(row.label, left)),
      dot(row.order.first, x, at * step + 16, 0),
      row.order.consistent ? dot(row.order.consistent, x, at * step + 16, 1) : []]);
    return [bottom + 44, [across(x, bottom, 4, "%"), svg("line", { x1: x(50), x2: x(50), y1: 4, y2: bottom, class: "zero" }), lines]];
  };
  return figure("Whether the judge favours a place", draw,
    legend(["won by the answer that came first: 50 % without a bias", "same winner when the answers are swapped"]
      .slice(0, rows.some((row) => row.order.consistent) ? 2 : 1)),
    plain(["method", "first answer wins %", "games", "same winner under swap %", "pairs"], rows.map((row) =>
      [row.label, interval(row.order.first, 1), row.order.first.n, interval(row.order.consistent, 1), row.order.consistent?.n ?? DASH])));
}

function costs(group) {
  const metric = metricOf(group, group.controlled) || metricOf(group, group.raw);
  const kinds = [["dollars", "dollars of the judge"], ["gpu_hours", "GPU hours"]];
  return kinds.map(([name, heading]) => {
    const rows = group.rows.filter((row) => row[name] !== null && metric && row.figures[metric.name]);
    if (!rows.length) return null;
    const draw = (width) => {
      const height = 320, left = 52, bottom = height - 44;
      const x = scale(spanned(rows.map((row) => row[name])), [left, width - 12]);
      const y = scale(spanned(rows.map((row) => row.figures[metric.name].value), 0.15), [bottom, 24]);
      return [height, [across(x, bottom, 24, heading), upward(y, left, width - 12, metric.heading),
        rows.map((row) => [mark(x(row[name]), y(row.figures[metric.name].value), group.rows.indexOf(row)),
          svg("text", { x: x(row[name]) + 9, y: y(row.figures[metric.name].value) - 7 }, short(row.label, 24))])]];
    };
    return figure(`${metric.heading} against ${heading}`, draw,
      plain(["method", heading, metric.heading], rows.map((row) => [row.label, fixed(row[name], 2), interval(row.figures[metric.name], metric.digits)])));
  }).filter(Boolean);
}
