// The table: a column a figure, sorted by a click on its head, filtered by the method's name.
// Published figures follow the measured ones, in sections that are turned on and off.
function tableColumns(group, metrics, rows) {
  const figures = metrics.map((metric) => ({
    heading: metric.heading,
    order: (row) => row.figures[metric.name]?.value ?? null,
    text: (row) => interval(row.figures[metric.name], row.figures[metric.name]?.digits ?? metric.digits),
    top: (row) => topGroup(group, metric.name).includes(group.rows.indexOf(row)),
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

// Small numbers of hours are not rounded to zero.
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

// `sections`: [{title, rows, published}]; each is sorted on its own. `state` outlives the node.
function grid(id, columns, sections, state) {
  const bodies = sections.map(() => el("tbody"));
  const heads = columns.map((column, index) =>
    el("th", { scope: "col", class: index ? "number" : null, "aria-sort": "none" },
      el("button", { type: "button", click: () => sortBy(column.heading, index > 0) }, column.heading)));

  function sortBy(heading, falling) {
    state.falling = state.by === heading ? !state.falling : falling;
    state.by = heading;
    fill();
  }

  function fill() {
    const by = columns.find(({ heading }) => heading === state.by);
    heads.forEach((head, index) => head.setAttribute("aria-sort",
      columns[index] !== by ? "none" : state.falling ? "descending" : "ascending"));
    sections.forEach(({ title, rows, published }, index) => {
      const kept = rows.filter((row) => row.label.toLowerCase().includes(state.wanted));
      const lines = (by ? sorted(kept, by, state.falling) : kept).map((row) => tableRow(row, columns, published));
      const head = title && lines.length ? el("tr", { class: "section-title" },
        el("th", { scope: "rowgroup", colspan: columns.length }, el("span", {}, title))) : null;
      bodies[index].replaceChildren(...[head, ...lines].filter(Boolean));
    });
  }

  fill();
  const node = el("div", { class: "scroll" }, el("table", { id }, el("thead", {}, el("tr", {}, heads)), bodies));
  return { node, fill };
}

function tablePanel(group) {
  const { documents = [], tables = [] } = group.published ?? {};
  const chosen = new Set(documents.flatMap(({ shown }, index) => (shown ? [index] : [])));
  const filter = { wanted: "" };
  const states = [null, ...tables].map(() => Object.create(filter, {
    by: { value: null, writable: true }, falling: { value: true, writable: true } }));
  const box = el("div"), others = el("div"), count = el("span", { class: "quiet", role: "status" });
  let grids = [];

  const quoted = (table) => table.sections.filter(({ document }) => chosen.has(document))
    .map(({ citation, rows }) => ({ title: `published: ${citation}`, rows, published: true }));

  function layOut() {
    const same = tables.filter((table) => table.same);
    const below = same.flatMap(quoted), added = same.flatMap((table) => table.metrics)
      .filter(({ name }) => !group.metrics.some((metric) => metric.name === name));
    const sections = [{ title: below.length ? "measured" : "", rows: group.rows }, ...below];
    const columns = tableColumns(group, [...group.metrics, ...added], sections.flatMap(({ rows }) => rows));
    grids = [grid("table", columns, sections, states[0])];
    box.replaceChildren(grids[0].node);
    others.replaceChildren(...tables.flatMap((table, index) => (table.same ? [] : separateTable(table, states[index + 1]))));
    fill();
  }

  function separateTable(table, state) {
    const sections = quoted(table);
    if (!sections.length) return [];
    const columns = tableColumns(group, table.metrics, sections.flatMap(({ rows }) => rows));
    grids.push(grid(null, columns, sections, state));
    return [el("h3", {}, isolated(table.title)),
      el("p", { class: "notes" }, "Another judge, or other settings: figures here cannot be compared with those of another table."), grids.at(-1).node];
  }

  function fill() {
    for (const entry of grids) entry.fill();
    const kept = group.rows.filter((row) => row.label.toLowerCase().includes(filter.wanted));
    count.textContent = `${kept.length} of ${group.rows.length} methods`;
  }

  const wanted = el("input", {
    type: "search", id: "filter", autocomplete: "off",
    input: (event) => { filter.wanted = event.target.value.toLowerCase(); fill(); },
  });
  layOut();
  return [
    el("div", { class: "bar" }, el("label", { for: "filter" }, "Only methods with"), wanted, count),
    documents.length ? documentSelector(documents, chosen, layOut) : null,
    box, tableNotes(group), others,
  ];
}

// Checkboxes for the documents whose figures are shown.
function documentSelector(documents, chosen, changed) {
  const boxes = documents.map(({ name }, index) => el("label", {},
    el("input", { type: "checkbox", value: index, checked: chosen.has(index), change: (event) => {
      if (event.target.checked) chosen.add(index); else chosen.delete(index);
      changed();
    } }), isolated(name)));
  return el("fieldset", { id: "published", class: "bar" }, el("legend", {}, "Published figures"), boxes);
}

const topGroup = (group, name) => group.compared.find((comparison) => comparison.metric === name)?.top ?? [];

function tableRow(row, columns, published = false) {
  const cells = columns.slice(1).map((column) => el("td", { class: "number" },
    column.top?.(row) ? el("strong", {}, column.text(row)) : String(column.text(row))));
  const remark = row.control ? " (a control: it answers nothing)" : published && row.notes.length ? el("span", { class: "hint" }, row.notes.join("; ")) : "";
  return el("tr", { class: published ? "published" : row.control ? "control" : null },
    el("th", { scope: "row" }, isolated(row.label), remark), cells);
}

function tableNotes(group) {
  const notes = group.rows.flatMap((row) => row.notes.map((note) => `${row.label}: ${note}`));
  const general = "In brackets: 95 % intervals over prompts. Bold: not significantly different from the best by paired tests (5 %, Holm over all pairs)." + (group.rows.some((row) => row.length !== null) ? " Mean length in characters." : "") +
    (group.published ? " Published figures, in italics, are as printed there: their answers were generated with other settings, and no test compares them." : "");
  return [
    el("p", { class: "notes" }, general),
    notes.length ? el("details", {}, el("summary", {}, notes.length === 1 ? "One note on a result" : `${notes.length} notes on single results`),
      el("ul", { class: "notes" }, notes.map((note) => el("li", {}, isolated(note))))) : null,
  ];
}
