// Method against method: differences on shared prompts from one that is chosen, and all of them.
const certain = (p) => (p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`);

function compare(group) {
  if (!group.compared.length) return el("p", {}, "Fewer than two results have per-prompt values: there is nothing to compare.");
  const holder = el("div");
  const preferred = group.compared.findIndex((found) => found.metric === group.controlled);
  const usual = (found) => Math.max(0, found.at.findIndex((at) => !group.rows[at].control));
  const state = { metric: Math.max(0, preferred), against: 0 };
  state.against = usual(group.compared[state.metric]);
  const metrics = chooser("compare-metric", group.compared.map((found) => metricOf(group, found.metric).heading), state.metric,
    (at) => { state.metric = at; state.against = usual(group.compared[at]); show(); });
  const box = el("span");
  function show() {
    const found = group.compared[state.metric];
    const labels = found.at.map((at) => group.rows[at].label);
    box.replaceChildren(chooser("compare-against", labels, state.against, (at) => { state.against = at; show(); }));
    holder.replaceChildren(forest(group, found, labels, state.against), power(group, found), matrix(group, found, labels));
  }
  show();
  return [el("div", { class: "bar" }, el("label", { for: "compare-metric" }, "Figure"), metrics,
    el("label", { for: "compare-against" }, "less"), box), holder];
}

function chooser(id, labels, chosen, change) {
  const options = labels.map((label, at) => el("option", { value: at, selected: at === chosen }, label));
  return el("select", { id, change: (event) => change(Number(event.target.value)) }, options);
}

function power(group, found) {
  const digits = metricOf(group, found.metric).digits;
  const shared = found.shared.flat();
  const [fewest, most] = [Math.min(...shared), Math.max(...shared)];
  const told = fewest === most ? most : `${fewest} to ${most}`;
  const smallest = found.resolvable === null ? "" : ` One such test finds a difference of ${fixed(found.resolvable, digits)} four times in five (median over pairs); smaller ones mostly cannot be told with so many prompts.`;
  return el("p", { class: "notes", id: "power" }, `Paired bootstrap over ${told} shared prompts; p by Holm over all pairs.${smallest}`);
}

function forest(group, found, labels, against) {
  const metric = metricOf(group, found.metric);
  const others = labels.map((_, at) => at).filter((at) => at !== against && found.value[at][against] !== null);
  const bounds = (at) => [found.value[at][against] - (found.reach[at][against] ?? 0), found.value[at][against] + (found.reach[at][against] ?? 0)];
  const draw = (width) => {
    const left = room(labels, width), step = 24, bottom = others.length * step + 8;
    const x = scale(spanned([0, ...others.flatMap(bounds)]), [left, width - 14]);
    const lines = others.map((at, place) => {
      const y = place * step + 16, [low, high] = bounds(at);
      return [svg("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, fitting(labels[at], left)),
        dot({ value: found.value[at][against], low, high }, x, y, found.at[at])];
    });
    return [bottom + 44, [across(x, bottom, 4, `${metric.heading}, less ${short(labels[against], 30)}`),
      svg("line", { x1: x(0), x2: x(0), y1: 4, y2: bottom, class: "zero" }), lines]];
  };
  const rows = others.map((at) => [labels[at], signed(found.value[at][against], metric.digits),
    `[${bounds(at).map((bound) => signed(bound, metric.digits)).join(", ")}]`, certain(found.p[at][against]), found.shared[at][against]]);
  return figure("Paired differences with 95 % intervals", draw, el("figcaption", {}, "95 % intervals of single differences; whiskers clear of the dashed line differ before correction."),
    plain(["method", "difference", "95 %", "p (Holm)", "shared prompts"], rows));
}

function matrix(group, found, labels) {
  const digits = metricOf(group, found.metric).digits;
  const cell = (row, column) => {
    const value = found.value[row][column], p = found.p[row][column];
    if (row === column || value === null) return el("td", { class: "number" }, DASH);
    const sure = p <= 0.05;
    return el("td", { class: `number${sure ? (value > 0 ? " better" : " worse") : ""}`, title: `${certain(p)}, ${found.shared[row][column]} prompts` },
      `${signed(value, digits)}${sure ? "*" : ""}`);
  };
  const head = el("tr", {}, el("th", { scope: "col" }, "row less column"), labels.map((label) => el("th", { scope: "col", class: "number" }, called(label))));
  const lines = labels.map((label, row) => el("tr", {}, el("th", { scope: "row" }, called(label)), labels.map((_, column) => cell(row, column))));
  return [el("h3", {}, "All pairs"), el("div", { class: "scroll" }, el("table", { id: "matrix" },
    el("caption", { class: "quiet" }, "* differs at 5 %, Holm over all pairs"), el("thead", {}, head), el("tbody", {}, lines)))]
    .reduce((box, node) => (box.append(node), box), el("div"));
}
