// Comparisons of two judges: the same answers under both, and how far the judges agree.
const OLD = 0, NEW = 1;

function bridgeSection(bridge) {
  const heading = el("h3", {}, isolated(bridge.old), " → ", isolated(bridge.new));
  const summary = el("p", {}, isolated(bridge.benchmark), `: ${bridge.rows.length} ${bridge.rows.length === 1 ? "model" : "models"}, ${bridge.prompts} prompts, ${bridge.verdicts} verdicts by both judges.`);
  return [heading, summary, bridge.metrics.map((metric) => judgeFigures(bridge, metric)), bridgeAgreement(bridge), shareFigure(bridge), bridgeCost(bridge)];
}

// Every model's figure under both judges, in the order of the old judge.
function judgeFigures(bridge, { name, heading, digits }) {
  const rows = bridge.rows.filter((row) => row.figures[name].old || row.figures[name].new)
    .sort((a, b) => (b.figures[name].old?.value ?? 0) - (a.figures[name].old?.value ?? 0));
  if (!rows.length) return null;
  const draw = (width) => {
    const left = labelWidth(rows.map((row) => row.label), width), step = 30, bottom = rows.length * step + 8;
    const figures = rows.flatMap((row) => Object.values(row.figures[name])).filter(Boolean);
    const x = scale(paddedRange(figures.flatMap((f) => [f.value, f.low ?? f.value, f.high ?? f.value])), [left, width - 14]);
    const lines = rows.map((row, index) => {
      const { old, new: next } = row.figures[name], y = index * step + 16;
      return [svg("text", { x: left - 8, y: y + 6, "text-anchor": "end" }, fitted(row.label, left)), dot(old, x, y - 3, OLD), dot(next, x, y + 7, NEW)];
    });
    return [bottom + 44, [xAxis(x, bottom, 4, heading), lines]];
  };
  const difference = ({ old, new: next }) => (old && next ? signed(next.value - old.value, digits) : DASH);
  return figure(`${heading} under both judges`, draw, legend([bridge.old, bridge.new], [OLD, NEW]),
    dataTable(["model", bridge.old, bridge.new, "new minus old", "unparsed by the new"], rows.map((row) =>
      [row.label, interval(row.figures[name].old, digits), interval(row.figures[name].new, digits), difference(row.figures[name]), String(row.unparsed)])));
}

// Headings of shares of verdicts: in a table, and in a figure where there is little room.
const SHARES = {
  first: ["first answer preferred %", "first preferred"],
  same: ["same winner as the old judge %", "as the old judge"],
  repeated: ["same winner when the request is repeated %", "repeated"],
  swapped: ["same winner when the answers are swapped %", "swapped"],
};

function bridgeAgreement(bridge) {
  const rows = [
    ["order of the models, Kendall's τ", "1: the same order; 0: chance", interval(bridge.order, 2)],
    ["single verdicts, Cohen's κ", "1: always the same winner; 0: chance", interval(bridge.kappa, 2)],
    ["bias, points of the win rate", "new minus old; above 0: more favourable to the models", interval(bridge.bias, 1)],
    ...bridge.shares.map(({ name, judge, figure, n }) => [SHARES[name][0],
      n ? `${n} verdicts` : `the ${judge} judge; 50 without a bias`, interval(figure, 1)]),
    bridge.shift ? ["shift when the request is repeated, points", "mean distance of two verdicts", interval(bridge.shift, 1)] : null,
  ].filter(Boolean);
  return [el("h4", {}, "Agreement"),
    dataTable(["figure", "value, 95 %"], rows.map(([name, hint, value]) => [el("span", {}, name, el("span", { class: "hint" }, hint)), value]))];
}

function shareFigure(bridge) {
  const names = [...new Set(bridge.shares.map((share) => share.name))];
  const draw = (width) => {
    const labels = names.map((name) => SHARES[name][1]);
    const left = labelWidth(labels, width), step = 28, bottom = names.length * step + 8;
    const x = scale([0, 100], [left, width - 14]);
    const lines = names.map((name, index) => [svg("text", { x: left - 8, y: index * step + 20, "text-anchor": "end" }, fitted(labels[index], left)),
      bridge.shares.filter((share) => share.name === name).map(({ judge, figure }) =>
        dot(figure, x, index * step + (judge === "old" ? 12 : 20), judge === "old" ? OLD : NEW))]);
    return [bottom + 44, [xAxis(x, bottom, 4, "%"), svg("line", { x1: x(50), x2: x(50), y1: 4, y2: bottom, class: "zero" }), lines]];
  };
  return figure("Position bias and consistency of both judges", draw, legend([bridge.old, bridge.new], [OLD, NEW]));
}

function bridgeCost({ cost }) {
  const counts = cost.counts.map(([name, count]) => `${count.toLocaleString("en")} ${name}`);
  const dollars = cost.dollars === null ? "no price is known" : `$ ${cost.dollars.toFixed(2)}`;
  return el("p", { class: "notes" }, `Cost of the new judge: ${[dollars, ...counts].join(", ")}. `, cost.price ? isolated(cost.price) : null);
}
