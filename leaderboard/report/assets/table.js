// The table: a column a figure, sorted by a click on its head, filtered by the method's name. What
// is published elsewhere stands below what is measured, in sections that are turned on and off.
function columnsOf(group, metrics, rows) {
  const figures = metrics.map((metric) => ({
    heading: metric.heading,
    order: (row) => row.figures[metric.name]?.value ?? null,
    text: (row) => interval(row.figures[metric.name], row.figures[metric.name]?.digits ?? metric.digits),
    top: (row) => topOf(group, metric.name).includes(group.rows.indexOf(row)),
  }));
  const fact = (heading, name, digits) => ({
    heading,
    order: (row) => row[name] ?? null,
    text: (row) => fixed(row[name], digits),
  });
  const facts = [
    fact("mean length", "length", 0),
    fact("tokens", "tokens", 0),
    fact("cut off %", "truncated", 1),
    { heading: "n judged", order: (row) => row.judged ?? null, text: (row) => ((row.judged ?? null) === null ? DASH : `${row.judged} of ${row.asked}`) },
    fact("$", "dollars", 2),
    { heading: "GPU hours", order: (row) => row.gpu_hours ?? null, text: (row) => hours(row.gpu_hours) },
    { heading: "iteration", order: (row) => row.iteration ?? null, text: (row) => row.iteration ?? DASH },
  ];
  const known = [...figures, ...facts].filter(({ order }) => rows.some((row) => order(row) !== null));
  return [{ heading: "method", order: (row) => row.label, text: (row) => row.label }, ...known];
}

// Few hours are not rounded to none.
const hours = (value) => (value > 0 && value < 1 ? String(Number(value.toPrecision(2))) : fixed(value, 1));

function sorted(rows, column, falling) {
  const known = rows.filter((row) => column.order(row) !== null);
  const rest = rows.filter((row) => column.order(row) === null);
  const compare = (a, b) => {
    const [x, y] = [column.order(a), column.order(b)];
    return typeof x === "string" ? x.localeCompare(y) : x - y;
  };
  known.sort((a, b) => (falling ? compare(b, a) : compare(a, b)));
  return [...known, ...rest];
}

// `sections`: [{title, rows, published}]; each is sorted within itself. `state` outlives the node.
function grid(id, columns, sections, state) {
  const bodies = sections.map(() => el("tbody"));
  const heads = columns.map((column, at) =>
    el("th", { scope: "col", class: at ? "number" : null, "aria-sort": "none" },
      el("button", { type: "button", click: () => turn(column.heading, at > 0) }, column.heading)));

  function turn(heading, falling) {
    state.falling = state.by === heading ? !state.falling : falling;
    state.by = heading;
    fill();
  }

  function fill() {
    const by = columns.find(({ heading }) => heading === state.by);
    heads.forEach((head, at) => head.setAttribute("aria-sort",
      columns[at] !== by ? "none" : state.falling ? "descending" : "ascending"));
    sections.forEach(({ title, rows, published }, at) => {
      const kept = rows.filter((row) => row.label.toLowerCase().includes(state.wanted));
      const lines = (by ? sorted(kept, by, state.falling) : kept).map((row) => line(row, columns, published));
      const head = title && lines.length ? el("tr", { class: "told" },
        el("th", { scope: "rowgroup", colspan: columns.length }, el("span", {}, title))) : null;
      bodies[at].replaceChildren(...[head, ...lines].filter(Boolean));
    });
  }

  fill();
  const node = el("div", { class: "scroll" }, el("table", { id }, el("thead", {}, el("tr", {}, heads)), bodies));
  return { node, fill };
}

function tableOf(group) {
  const { documents = [], tables = [] } = group.published ?? {};
  const chosen = new Set(documents.flatMap(({ shown }, at) => (shown ? [at] : [])));
  const filter = { wanted: "" };
  const states = [null, ...tables].map(() => Object.create(filter, {
    by: { value: null, writable: true }, falling: { value: true, writable: true } }));
  const box = el("div"), others = el("div"), count = el("span", { class: "quiet", role: "status" });
  let grids = [];

  const quoted = (table) => table.sections.filter(({ document }) => chosen.has(document))
    .map(({ told, rows }) => ({ title: `published: ${told}`, rows, published: true }));

  function lay() {
    const same = tables.filter((table) => table.same);
    const below = same.flatMap(quoted), added = same.flatMap((table) => table.metrics)
      .filter(({ name }) => !group.metrics.some((metric) => metric.name === name));
    const sections = [{ title: below.length ? "measured" : "", rows: group.rows }, ...below];
    const columns = columnsOf(group, [...group.metrics, ...added], sections.flatMap(({ rows }) => rows));
    grids = [grid("table", columns, sections, states[0])];
    box.replaceChildren(grids[0].node);
    others.replaceChildren(...tables.flatMap((table, at) => (table.same ? [] : apart(table, states[at + 1]))));
    fill();
  }

  function apart(table, state) {
    const sections = quoted(table);
    if (!sections.length) return [];
    const columns = columnsOf(group, table.metrics, sections.flatMap(({ rows }) => rows));
    grids.push(grid(null, columns, sections, state));
    return [el("h3", {}, called(table.title)),
      el("p", { class: "notes" }, "Another judge, or asked otherwise: no figure here is to be set beside one of another table."), grids.at(-1).node];
  }

  function fill() {
    for (const one of grids) one.fill();
    const kept = group.rows.filter((row) => row.label.toLowerCase().includes(filter.wanted));
    count.textContent = `${kept.length} of ${group.rows.length} methods`;
  }

  const wanted = el("input", {
    type: "search", id: "filter", autocomplete: "off",
    input: (event) => { filter.wanted = event.target.value.toLowerCase(); fill(); },
  });
  lay();
  return [
    el("div", { class: "bar" }, el("label", { for: "filter" }, "Only methods with"), wanted, count),
    documents.length ? chooserOf(documents, chosen, lay) : null,
    box, notesOf(group), others,
  ];
}

// Which documents' figures are shown.
function chooserOf(documents, chosen, changed) {
  const boxes = documents.map(({ name }, at) => el("label", {},
    el("input", { type: "checkbox", value: at, checked: chosen.has(at), change: (event) => {
      if (event.target.checked) chosen.add(at); else chosen.delete(at);
      changed();
    } }), called(name)));
  return el("fieldset", { id: "published", class: "bar" }, el("legend", {}, "Published figures"), boxes);
}

const topOf = (group, name) => group.compared.find((found) => found.metric === name)?.top ?? [];

function line(row, columns, published = false) {
  const cells = columns.slice(1).map((column) => el("td", { class: "number" },
    column.top?.(row) ? el("strong", {}, column.text(row)) : String(column.text(row))));
  const told = row.control ? " (a control: it answers nothing)" : published && row.notes.length ? el("span", { class: "hint" }, row.notes.join("; ")) : "";
  return el("tr", { class: published ? "published" : row.control ? "control" : null },
    el("th", { scope: "row" }, called(row.label), told), cells);
}

function notesOf(group) {
  const own = group.rows.flatMap((row) => row.notes.map((note) => `${row.label}: ${note}`));
  const general = "In brackets: 95 % intervals over prompts. Bold: not told from the highest by paired tests (5 %, Holm over all pairs)." + (group.rows.some((row) => row.length !== null) ? " Mean length in characters." : "") +
    (group.published ? " Published figures, in italics, are as printed there: answers by others' settings, no test against them." : "");
  return [
    el("p", { class: "notes" }, general),
    own.length ? el("details", {}, el("summary", {}, own.length === 1 ? "One note on a result" : `${own.length} notes on single results`),
      el("ul", { class: "notes" }, own.map((note) => el("li", {}, called(note))))) : null,
  ];
}
