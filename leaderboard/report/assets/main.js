// The page: the sections of the selected group, and navigation by its address.
const report = JSON.parse(document.getElementById("figures").textContent);
const main = document.getElementById("content");
let viewer = null;

function section(id, title, introduction, ...nodes) {
  const children = nodes.flat(9).filter(Boolean);
  return children.length ? el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), introduction ? el("p", {}, introduction) : null, children) : null;
}

function agreementTable() {
  return report.agreement.length ? numbersTable(["method", "judges", "same winner %", "kappa", "prompts"], report.agreement.map((pair) =>
    [`${pair.label}, ${pair.benchmark}`, pair.judges.join(" and "), interval(pair.same, 1), fixed(pair.kappa, 2), pair.same.n])) : null;
}

function dataView(data) {
  if (Array.isArray(data) && data.length && data.every((row) => row && typeof row === "object" && !Array.isArray(row))) {
    const names = [...new Set(data.flatMap((row) => Object.keys(row)))];
    return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col" }, name.replaceAll("_", " "))))),
      el("tbody", {}, data.map((row) => el("tr", {}, names.map((name) => el("td", {}, dataView(row[name] ?? null))))))));
  }
  if (data && typeof data === "object") {
    return el("table", {}, el("tbody", {}, Object.entries(data).map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name.replaceAll("_", " ")), el("td", {}, dataView(value))))));
  }
  return isolated(data === null ? DASH : typeof data === "number" && !Number.isInteger(data) ? data.toPrecision(4) : String(data));
}

function provenanceList(group) {
  return group.rows.map((row) => el("details", {}, el("summary", {}, isolated(row.label), ` · ${row.source}`), el("div", { class: "scroll" }, dataView(row.provenance))));
}

function sections(group) {
  viewer = group.rows.some((row) => row.texts !== null) ? new Viewer(group) : null;
  return [
    section("figures-table", "Table", null, tablePanel(group)),
    section("length", "Figure and length", "Judges tend to prefer longer answers.", lengthFigure(group)),
    section("differences", "Differences", null, comparePanel(group)),
    section("parts", "Breakdown", "One dot for each method, with its 95 % interval; in brackets the number of prompts.",
      group.breakdowns.map((breakdown) => [el("h3", {}, `By ${breakdown.by}`), breakdownFigure(group, breakdown)])),
    section("wins", "Wins, ties, losses", null, winFigure(group)),
    section("judge", "The judge", "Position bias, and the agreement of judges that grade the same answers.", positionBiasFigure(group), agreementTable()),
    section("iterations", "Iterations", null, iterationCurves(group, report.training)),
    section("bridges", "Comparisons of judges", "Published answers graded again by a new judge, beside the old judge's verdicts.", report.bridges.map(bridgeSection)),
    section("cost", "Cost", null, costFigures(group)),
    section("single", "Single comparisons", null, viewer?.node),
    section("provenance", "Provenance", "The inputs and settings of each result.", provenanceList(group)),
  ].filter(Boolean);
}

function showGroup(index) {
  const group = report.groups[index];
  document.getElementById("group").value = String(index);
  const nodes = sections(group);
  const messages = report.messages.map((line) => el("p", { class: "notes", role: "note" }, line));
  main.replaceChildren(...messages, ...nodes);
  document.getElementById("sections").replaceChildren(...nodes.map((node) =>
    el("li", {}, el("a", { href: `#${node.id}` }, node.querySelector("h2").textContent))));
}

// An address names a result and a prompt, or a section.
async function follow() {
  const target = new URLSearchParams(location.hash.slice(1));
  const source = target.get("result");
  const index = report.groups.findIndex((group) => group.rows.some((row) => row.source === source && row.texts !== null));
  if (index >= 0) {
    if (document.getElementById("group").value !== String(index) || !viewer) showGroup(index);
    await viewer.load(report.groups[index].rows.find((row) => row.source === source), target.get("prompt"));
    document.getElementById("single").scrollIntoView();
  } else {
    if (!viewer?.row) await loadFirst();
    if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  }
}

async function loadFirst() {
  if (viewer) await viewer.load(viewer.rows[0]);
}

function theme() {
  const root = document.documentElement, button = document.getElementById("theme");
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const set = (now) => { button.setAttribute("aria-pressed", String(now)); };
  set(dark);
  button.addEventListener("click", () => {
    const now = button.getAttribute("aria-pressed") !== "true";
    root.dataset.theme = now ? "dark" : "light";
    set(now);
  });
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea, .list");
  if (!typing && viewer?.row && (event.key === "j" || event.key === "k")) viewer.step(event);
});
document.getElementById("group").append(...report.groups.map((group, index) => el("option", { value: index }, group.title)));
document.getElementById("group").addEventListener("change", async (event) => {
  history.replaceState(null, "", location.pathname + location.search);
  showGroup(Number(event.target.value));
  await loadFirst();
});
addEventListener("hashchange", follow);
theme();
showGroup(0);
follow().then(() => { document.documentElement.dataset.ready = "yes"; });
