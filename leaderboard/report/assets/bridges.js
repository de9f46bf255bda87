// From one judge to another: the same answers under both, and what the new one is worth.
const OLD = 0, NEW = 1;

function bridgeOf(one) {
  const heading = el("h3", {}, called(one.old), " → ", called(one.new));
  const told = el("p", {}, called(one.benchmark), `: ${one.rows.length} ${one.rows.length === 1 ? "model" : "models"}, ${one.prompts} prompts, ${one.verdicts} verdicts that both judges gave.`);
  return [heading, told, one.metrics.map((metric) => sides(one, metric)), agreed(one), shares(one), costOf(one)];
}

// Every model's figure under both judges, in the order of the old one.
function sides(one, { name, heading, digits }) {
  const rows = one.rows.filter((row) => row.figures[name].old || row.figures[name].new)
    .sort((a, b) => (b.figures[name].old?.value ?? 0) - (a.figures[name].old?.value ?? 0));
  if (!rows.length) return null;
  const draw = (width) => {
    const left = room(rows.map((row) => row.label), width), step = 30, bottom = rows.length * step + 8;
    const all = rows.flatMap((row) => Object.values(row.figures[name])).filter(Boolean);
    const x = scale(spanned(all.flatMap((f) => [f.value, f.low ?? f.value, f.high ?? f.value])), [left, width - 14]);
    const lines = rows.map((row, at) => {
      const { old, new: now } = row.figures[name], y = at * step + 16;
      return [svg("text", { x: left - 8, y: y + 6, "text-anchor": "end" }, fitting(row.label, left)), dot(old, x, y - 3, OLD), dot(now, x, y + 7, NEW)];
    });
    return [bottom + 44, [across(x, bottom, 4, heading), lines]];
  };
  const apart = ({ old, new: now }) => (old && now ? signed(now.value - old.value, digits) : DASH);
  return figure(`${heading} under both judges`, draw, legend([one.old, one.new], [OLD, NEW]),
    listed(["model", one.old, one.new, "new less old", "unread by the new"], rows.map((row) =>
      [row.label, interval(row.figures[name].old, digits), interval(row.figures[name].new, digits), apart(row.figures[name]), String(row.unread)])));
}

// What shares of verdicts are called: in a table, and in a figure where there is little room.
const SHARES = {
  first: ["the first answer preferred %", "first preferred"],
  same: ["same winner as the old judge %", "as the old judge"],
  again: ["same winner when asked again %", "asked again"],
  swapped: ["same winner when the answers are swapped %", "swapped"],
};

function agreed(one) {
  const rows = [
    ["order of the models, Kendall's τ", "1: the same order; 0: by chance", interval(one.order, 2)],
    ["single verdicts, Cohen's κ", "1: always the same winner; 0: by chance", interval(one.kappa, 2)],
    ["bias, points of the win rate", "new less old; above 0: kinder to the models", interval(one.bias, 1)],
    ...one.shares.map(({ name, judge, figure, n }) => [SHARES[name][0],
      n ? `${n} verdicts` : `the ${judge} judge; 50 without a bias`, interval(figure, 1)]),
    one.moved ? ["how far it moves when asked again, points", "mean distance of two verdicts", interval(one.moved, 1)] : null,
  ].filter(Boolean);
  return [el("h4", {}, "How far they agree"),
    listed(["figure", "value, 95 %"], rows.map(([name, hint, value]) => [el("span", {}, name, el("span", { class: "hint" }, hint)), value]))];
}

function shares(one) {
  const names = [...new Set(one.shares.map((share) => share.name))];
  const draw = (width) => {
    const labels = names.map((name) => SHARES[name][1]);
    const left = room(labels, width), step = 28, bottom = names.length * step + 8;
    const x = scale([0, 100], [left, width - 14]);
    const lines = names.map((name, at) => [svg("text", { x: left - 8, y: at * step + 20, "text-anchor": "end" }, fitting(labels[at], left)),
      one.shares.filter((share) => share.name === name).map(({ judge, figure }) =>
        dot(figure, x, at * step + (judge === "old" ? 12 : 20), judge === "old" ? OLD : NEW))]);
    return [bottom + 44, [across(x, bottom, 4, "%"), svg("line", { x1: x(50), x2: x(50), y1: 4, y2: bottom, class: "zero" }), lines]];
  };
  return figure("Places and consistency of both judges", draw, legend([one.old, one.new], [OLD, NEW]));
}

function costOf({ cost }) {
  const counts = cost.counts.map(([name, count]) => `${count.toLocaleString("en")} ${name}`);
  const dollars = cost.dollars === null ? "no price is known" : `$ ${cost.dollars.toFixed(2)}`;
  return el("p", { class: "notes" }, `What the new judge has cost: ${[dollars, ...counts].join(", ")}. `, cost.price ? called(cost.price) : null);
}
