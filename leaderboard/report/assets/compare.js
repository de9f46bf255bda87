// Method against method: paired differences on shared prompts from a chosen method, and all pairs.
const formatP = (p) => (p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`);

function comparePanel(group) {
  if (!group.compared.length) return el("p", {}, "Fewer than two results have per-prompt values: there is nothing to compare.");
  const holder = el("div");
  const preferred = group.compared.findIndex((comparison) => comparison.metric === group.controlled);
  const defaultMethod = (comparison) => Math.max(0, comparison.indices.findIndex((index) => !group.rows[index].control));
  const state = { metric: Math.max(0, preferred), against: 0 };
  state.against = defaultMethod(group.compared[state.metric]);
  const metrics = selector("compare-metric", group.compared.map((comparison) => metricOf(group, comparison.metric).heading), state.metric,
    (index) => { state.metric = index; state.against = defaultMethod(group.compared[index]); update(); });
  const box = el("span");
  function update() {
    const comparison = group.compared[state.metric];
    const labels = comparison.indices.map((index) => group.rows[index].label);
    box.replaceChildren(selector("compare-against", labels, state.against, (index) => { state.against = index; update(); }));
    holder.replaceChildren(forest(group, comparison, labels, state.against), power(group, comparison), matrix(group, comparison, labels));
  }
  update();
  return [el("div", { class: "bar" }, el("label", { for: "compare-metric" }, "Figure"), metrics,
    el("label", { for: "compare-against" }, "minus"), box), holder];
}

function selector(id, labels, chosen, change) {
  const options = labels.map((label, index) => el("option", { value: index, selected: index === chosen }, label));
  return el("select", { id, change: (event) => change(Number(event.target.value)) }, options);
}

function power(group, comparison) {
  const digits = metricOf(group, comparison.metric).digits;
  const shared = comparison.shared.flat();
  const [fewest, most] = [Math.min(...shared), Math.max(...shared)];
  const count = fewest === most ? most : `${fewest} to ${most}`;
  const detectable = comparison.minimum_detectable === null ? "" : ` Minimum detectable difference (80 % power, median over pairs): ${fixed(comparison.minimum_detectable, digits)}.`;
  return el("p", { class: "notes", id: "power" }, `Paired bootstrap over ${count} shared prompts; p by Holm over all pairs.${detectable}`);
}

function forest(group, comparison, labels, against) {
  const metric = metricOf(group, comparison.metric);
  const others = labels.map((_, index) => index).filter((index) => index !== against && comparison.value[index][against] !== null);
  const bounds = (index) => [-1, 1].map((side) => comparison.value[index][against] + side * (comparison.half_width[index][against] ?? 0));
  const draw = (width) => {
    const left = labelWidth(labels, width), step = 24, bottom = others.length * step + 8;
    const x = scale(paddedRange([0, ...others.flatMap(bounds)]), [left, width - 14]);
    const lines = others.map((index, position) => {
      const y = position * step + 16, [low, high] = bounds(index);
      return [svg("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, fitted(labels[index], left)),
        dot({ value: comparison.value[index][against], low, high }, x, y, comparison.indices[index])];
    });
    return [bottom + 44, [xAxis(x, bottom, 4, `${metric.heading}, minus ${shortened(labels[against], 30)}`),
      svg("line", { x1: x(0), x2: x(0), y1: 4, y2: bottom, class: "zero" }), lines]];
  };
  const rows = others.map((index) => [labels[index], signed(comparison.value[index][against], metric.digits),
    `[${bounds(index).map((bound) => signed(bound, metric.digits)).join(", ")}]`, formatP(comparison.p[index][against]), comparison.shared[index][against]]);
  return figure("Paired differences with 95 % intervals", draw, el("figcaption", {}, "95 % intervals of single differences; whiskers clear of the dashed line differ before correction."),
    numbersTable(["method", "difference", "95 %", "p (Holm)", "shared prompts"], rows));
}

function matrix(group, comparison, labels) {
  const digits = metricOf(group, comparison.metric).digits;
  const cell = (row, column) => {
    const value = comparison.value[row][column], p = comparison.p[row][column];
    if (row === column || value === null) return el("td", { class: "number" }, DASH);
    const significant = p <= 0.05;
    return el("td", { class: `number${significant ? (value > 0 ? " better" : " worse") : ""}`, title: `${formatP(p)}, ${comparison.shared[row][column]} prompts` },
      `${signed(value, digits)}${significant ? "*" : ""}`);
  };
  const head = el("tr", {}, el("th", { scope: "col" }, "row minus column"), labels.map((label) => el("th", { scope: "col", class: "number" }, isolated(label))));
  const lines = labels.map((label, row) => el("tr", {}, el("th", { scope: "row" }, isolated(label)), labels.map((_, column) => cell(row, column))));
  return [el("h3", {}, "All pairs"), el("div", { class: "scroll" }, el("table", { id: "matrix" },
    el("caption", { class: "quiet" }, "* significantly different at 5 %, Holm over all pairs"), el("thead", {}, head), el("tbody", {}, lines)))]
    .reduce((box, node) => (box.append(node), box), el("div"));
}
