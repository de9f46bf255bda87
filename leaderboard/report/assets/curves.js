// What changes from iteration to iteration, by method or run.
const lineOf = (points, x, y, at) =>
  svg("polyline", { points: points.map(([i, value]) => `${x(i)},${y(value)}`).join(" "), class: `stroke ${hue(at)}` });

// `series`: [{label, at, points: [[iteration, {value, low, high}]]}]; `at` is its colour and shape.
function curve(heading, series, digits, most) {
  const told = series.map((one) => ({ ...one, points: one.points.filter(([, found]) => found && found.value !== null) }))
    .filter((one) => one.points.length);
  if (!told.length) return null;
  const draw = (width) => {
    const height = 260, left = 56, right = width - 16, bottom = height - 44;
    const all = told.flatMap((one) => one.points);
    const x = scale([0, most], [left + 8, right - 8]);
    const y = scale(spanned(all.flatMap(([, f]) => [f.value, f.low ?? f.value, f.high ?? f.value])), [bottom, 24]);
    const lines = told.map(({ at, ...one }) => [lineOf(one.points.map(([i, f]) => [i, f.value]), x, y, at),
      one.points.map(([i, f]) => [bounded(f) ? whisker(x(i), y(f.low), x(i), y(f.high), at) : [], mark(x(i), y(f.value), at, { size: 4 })])]);
    const marks = ticks(0, most, Math.min(most, Math.max(2, (right - left) / 40))).found.filter(Number.isInteger)
      .map((i) => svg("text", { x: x(i), y: bottom + 16, "text-anchor": "middle" }, String(i)));
    return [height, [upward(y, left, right, heading), marks, svg("text", { x: (left + right) / 2, y: bottom + 34, "text-anchor": "middle", class: "quiet" }, "iteration"), lines]];
  };
  const rows = told.flatMap((one) => one.points.map(([i, found]) => [`${one.label}, iteration ${i}`, interval(found, digits)]));
  return figure(`${heading} by iteration`, draw, legend(told.map((one) => one.label), told.map((one) => one.at)), plain(["method", heading], rows));
}

// A line has its method's colour in the table's figures where no other line has it.
function coloured(group, series) {
  const of = series.map(({ method }) => group.rows.findIndex((row) => row.method === method));
  const apart = of.every((at) => at >= 0) && new Set(of.map((at) => at % 12)).size === of.length;
  return series.map((one, at) => ({ ...one, at: apart ? of[at] : at }));
}

const logged = (group, one, most) => el("div", {},
  curve(one.heading, coloured(group, one.series), 3, most) ?? el("h4", {}, one.heading),
  one.notes.map((note) => el("p", { class: "notes" }, note)));

function iterations(group, training) {
  if (!group.curves.length && !training.length) return null;
  const bare = (value) => (value === null ? null : { value, low: null, high: null });
  const of = (read) => coloured(group, group.curves.map((one) => ({ ...one, points: one.points.map(([i, at]) => [i, read(group.rows[at])]) })));
  const most = Math.max(1, ...[...group.curves, ...training.flatMap((one) => one.series)].flatMap((one) => one.points.map(([i]) => i)));
  const measured = [...group.metrics.map((metric) => curve(metric.heading, of((row) => row.figures[metric.name]), metric.digits, most)),
    curve("mean length, characters", of((row) => bare(row.length)), 0, most)].filter(Boolean);
  const grid = (figures) => (figures.length ? el("div", { class: "figures" }, figures) : null);
  const [first, rest] = [true, false].map((wanted) => training.filter((one) => one.first === wanted).map((one) => logged(group, one, most)));
  return [grid(measured),
    training.length ? el("h3", {}, "In training") : null, grid(first),
    rest.length ? el("details", { id: "logged" }, el("summary", {}, `What else was logged: ${rest.length} figures`), grid(rest)) : null];
}
