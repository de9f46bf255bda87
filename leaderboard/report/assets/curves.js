// What changes from iteration to iteration, by method.
const lineOf = (points, x, y, at) =>
  svg("polyline", { points: points.map(([i, value]) => `${x(i)},${y(value)}`).join(" "), class: `stroke ${hue(at)}` });

// `series`: [{label, at, points: [[iteration, {value, low, high}]]}]; `at` is its colour and shape.
function curve(heading, series, digits) {
  const told = series.map((one) => ({ ...one, points: one.points.filter(([, found]) => found && found.value !== null) }));
  if (!told.some((one) => one.points.length)) return null;
  const draw = (width) => {
    const height = 260, left = 56, right = width - 16, bottom = height - 44;
    const all = told.flatMap((one) => one.points);
    const most = Math.max(1, ...all.map(([i]) => i));
    const x = scale([0, most], [left, right]);
    const y = scale(spanned(all.flatMap(([, f]) => [f.value, f.low ?? f.value, f.high ?? f.value])), [bottom, 24]);
    const lines = told.map(({ at, ...one }) => [lineOf(one.points.map(([i, f]) => [i, f.value]), x, y, at),
      one.points.map(([i, f]) => [f.low === null || f.low === undefined ? [] : whisker(x(i), y(f.low), x(i), y(f.high), at), mark(x(i), y(f.value), at, { size: 4 })])]);
    const marks = Array.from({ length: most + 1 }, (_, i) => svg("text", { x: x(i), y: bottom + 16, "text-anchor": "middle" }, String(i)));
    return [height, [upward(y, left, right, heading), marks, svg("text", { x: (left + right) / 2, y: bottom + 34, "text-anchor": "middle", class: "quiet" }, "iteration"), lines]];
  };
  const rows = told.flatMap((one) => one.points.map(([i, found]) => [`${one.label}, iteration ${i}`, interval({ low: null, high: null, ...found }, digits)]));
  return figure(`${heading} by iteration`, draw, legend(told.map((one) => one.label), told.map((one) => one.at)), plain(["method", heading], rows));
}

function iterations(group, training) {
  const placeOf = (method, at) => {
    const found = group.rows.findIndex((row) => row.method === method);
    return found < 0 ? group.rows.length + at : found;
  };
  const of = (read) => group.curves.map(({ method, points }, at) => ({ label: method, at: placeOf(method, at), points: points.map(([i, at]) => [i, read(group.rows[at])]) }));
  const bare = (value) => (value === null ? null : { value, low: null, high: null });
  const measured = group.curves.length ? [
    ...group.metrics.map((metric) => curve(metric.heading, of((row) => row.figures[metric.name]), metric.digits)),
    curve("mean length, characters", of((row) => bare(row.length)), 0)] : [];
  const names = [...new Set(training.flatMap((run) => run.points.flatMap((point) => Object.keys(point.figures))))];
  const logged = names.map((name) => curve(name.replaceAll("_", " "),
    training.map((run, at) => ({ label: run.run, at: placeOf(run.method, at), points: run.points.map((point) => [point.iteration, bare(point.figures[name] ?? null)]) })), 3));
  const found = [...measured.filter(Boolean), ...logged.filter(Boolean)];
  if (!found.length) return null;
  return [...measured.filter(Boolean),
    names.length ? el("h3", {}, "In training") : null,
    names.length ? el("p", { class: "notes" }, "Means over the last tenth of each iteration's steps. Margins and drifts in nats; drift is log π − log π_t of the chosen and of the rejected responses.") : null,
    ...logged.filter(Boolean)];
}
