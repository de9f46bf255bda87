// The table: a column a figure, sorted by a click on its head, filtered by the method's name.
function columnsOf(group) {
  const figures = group.metrics.map((metric) => ({
    heading: metric.heading,
    order: (row) => row.figures[metric.name]?.value ?? null,
    text: (row) => interval(row.figures[metric.name], metric.digits),
    top: (row) => topOf(group, metric.name).includes(group.rows.indexOf(row)),
  }));
  const fact = (heading, name, digits) => ({
    heading,
    order: (row) => row[name],
    text: (row) => fixed(row[name], digits),
  });
  const facts = [
    fact("mean length", "length", 0),
    fact("tokens", "tokens", 0),
    fact("cut off %", "truncated", 1),
    { heading: "n judged", order: (row) => row.judged, text: (row) => `${row.judged} of ${row.asked}` },
    fact("$", "dollars", 2),
    fact("GPU hours", "gpu_hours", 1),
    { heading: "iteration", order: (row) => row.iteration, text: (row) => row.iteration ?? DASH },
  ];
  const known = facts.filter(({ order }) =>
    group.rows.some((row) => order(row) !== null && order(row) !== undefined));
  return [{ heading: "method", order: (row) => row.label, text: (row) => row.label }, ...figures, ...known];
}

function sorted(rows, column, falling) {
  const known = rows.filter((row) => column.order(row) !== null && column.order(row) !== undefined);
  const rest = rows.filter((row) => !known.includes(row));
  const compare = (a, b) => {
    const [x, y] = [column.order(a), column.order(b)];
    return typeof x === "string" ? x.localeCompare(y) : x - y;
  };
  known.sort((a, b) => (falling ? compare(b, a) : compare(a, b)));
  return [...known, ...rest];
}

function tableOf(group) {
  const columns = columnsOf(group);
  const state = { at: -1, falling: true, wanted: "" };
  const body = el("tbody");
  const heads = columns.map((column, at) =>
    el("th", { scope: "col", class: at ? "number" : null, "aria-sort": "none" },
      el("button", { type: "button", click: () => turn(at) }, column.heading)));
  const count = el("span", { class: "quiet", role: "status" });

  function turn(at) {
    state.falling = state.at === at ? !state.falling : at > 0;
    state.at = at;
    fill();
  }

  function fill() {
    const kept = group.rows.filter((row) => row.label.toLowerCase().includes(state.wanted));
    const rows = state.at < 0 ? kept : sorted(kept, columns[state.at], state.falling);
    heads.forEach((head, at) => head.setAttribute("aria-sort",
      at !== state.at ? "none" : state.falling ? "descending" : "ascending"));
    body.replaceChildren(...rows.map((row) => line(row, columns)));
    count.textContent = `${rows.length} of ${group.rows.length} methods`;
  }

  const filter = el("input", {
    type: "search", id: "filter", autocomplete: "off",
    input: (event) => { state.wanted = event.target.value.toLowerCase(); fill(); },
  });
  fill();
  return [
    el("div", { class: "bar" }, el("label", { for: "filter" }, "Only methods with"), filter, count),
    el("div", { class: "scroll" },
      el("table", { id: "table" }, el("thead", {}, el("tr", {}, heads)), body)),
    notesOf(group),
  ];
}

const topOf = (group, name) => group.compared.find((found) => found.metric === name)?.top ?? [];

function line(row, columns) {
  const cells = columns.slice(1).map((column) => el("td", { class: "number" },
    column.top?.(row) ? el("strong", {}, column.text(row)) : String(column.text(row))));
  const told = row.control ? " (a control: it answers nothing)" : "";
  return el("tr", { class: row.control ? "control" : null },
    el("th", { scope: "row" }, called(row.label), told), cells);
}

function notesOf(group) {
  const own = group.rows.flatMap((row) => row.notes.map((note) => `${row.label}: ${note}`));
  const general = "In brackets: 95 % intervals over prompts. Bold: not told from the highest by paired tests (5 %, Holm over all pairs)." + (group.rows.some((row) => row.length !== null) ? " Mean length in characters." : "");
  return [
    el("p", { class: "notes" }, general),
    own.length ? el("details", {}, el("summary", {}, own.length === 1 ? "One note on a result" : `${own.length} notes on single results`),
      el("ul", { class: "notes" }, own.map((note) => el("li", {}, called(note))))) : null,
  ];
}
