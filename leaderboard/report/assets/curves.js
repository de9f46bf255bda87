// Curves by iteration, a line for each method or run.
const polyline = (points, x, y, index) =>
  svg("polyline", { points: points.map(([i, value]) => `${x(i)},${y(value)}`).join(" "), class: `stroke ${hue(index)}` });

// `series`: [{label, index, points: [[iteration, {value, low, high}]]}]; `index` is its colour and shape.
function curve(heading, series, digits, lastIteration) {
  const lines = series.map((line) => ({ ...line, points: line.points.filter(([, point]) => point && point.value !== null) }))
    .filter((line) => line.points.length);
  if (!lines.length) return null;
  const draw = (width) => {
    const height = 260, left = 56, right = width - 16, bottom = height - 44;
    const points = lines.flatMap((line) => line.points);
    const x = scale([0, lastIteration], [left + 8, right - 8]);
    const y = scale(paddedRange(points.flatMap(([, f]) => [f.value, f.low ?? f.value, f.high ?? f.value])), [bottom, 24]);
    const drawings = lines.map(({ index, points: own }) => [polyline(own.map(([i, f]) => [i, f.value]), x, y, index),
      own.map(([i, f]) => [hasBounds(f) ? whisker(x(i), y(f.low), x(i), y(f.high), index) : [], mark(x(i), y(f.value), index, { size: 4 })])]);
    const labels = ticks(0, lastIteration, Math.min(lastIteration, Math.max(2, (right - left) / 40))).values.filter(Number.isInteger)
      .map((i) => svg("text", { x: x(i), y: bottom + 16, "text-anchor": "middle" }, String(i)));
    return [height, [yAxis(y, left, right, heading), labels, svg("text", { x: (left + right) / 2, y: bottom + 34, "text-anchor": "middle", class: "quiet" }, "iteration"), drawings]];
  };
  const rows = lines.flatMap((line) => line.points.map(([i, point]) => [`${line.label}, iteration ${i}`, interval(point, digits)]));
  return figure(`${heading} by iteration`, draw, legend(lines.map((line) => line.label), lines.map((line) => line.index)), numbersTable(["method", heading], rows));
}

// A line has its method's colour in the table's figures where no other line has it.
function coloured(group, series) {
  const rowIndices = series.map(({ method }) => group.rows.findIndex((row) => row.method === method));
  const distinct = rowIndices.every((index) => index >= 0) && new Set(rowIndices.map((index) => index % 12)).size === rowIndices.length;
  return series.map((line, index) => ({ ...line, index: distinct ? rowIndices[index] : index }));
}

const loggedCurve = (group, metric, lastIteration) => el("div", {},
  curve(metric.heading, coloured(group, metric.series), 3, lastIteration) ?? el("h4", {}, metric.heading),
  metric.notes.map((note) => el("p", { class: "notes" }, note)));

function iterationCurves(group, training) {
  if (!group.curves.length && !training.length) return null;
  const bare = (value) => (value === null ? null : { value, low: null, high: null });
  const seriesOf = (read) => coloured(group, group.curves.map((line) => ({ ...line, points: line.points.map(([i, index]) => [i, read(group.rows[index])]) })));
  const lastIteration = Math.max(1, ...[...group.curves, ...training.flatMap((metric) => metric.series)].flatMap((line) => line.points.map(([i]) => i)));
  const measured = [...group.metrics.map((metric) => curve(metric.heading, seriesOf((row) => row.figures[metric.name]), metric.digits, lastIteration)),
    curve("mean length, characters", seriesOf((row) => bare(row.length)), 0, lastIteration)].filter(Boolean);
  const panels = (figures) => (figures.length ? el("div", { class: "figures" }, figures) : null);
  const [first, rest] = [true, false].map((wanted) => training.filter((metric) => metric.first === wanted).map((metric) => loggedCurve(group, metric, lastIteration)));
  return [panels(measured),
    training.length ? el("h3", {}, "In training") : null, panels(first),
    rest.length ? el("details", { id: "logged" }, el("summary", {}, `Other logged metrics: ${rest.length} figures`), panels(rest)) : null];
}
