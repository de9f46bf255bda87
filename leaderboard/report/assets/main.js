// The page: sections of the group that is chosen, and where its address leads.
const report = JSON.parse(document.getElementById("figures").textContent);
const main = document.getElementById("content");
let viewer = null;

function section(id, title, told, ...nodes) {
  const own = nodes.flat(9).filter(Boolean);
  return own.length ? el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), told ? el("p", {}, told) : null, own) : null;
}

function agreements() {
  return report.agreement.length ? plain(["method", "judges", "same winner %", "kappa", "prompts"], report.agreement.map((one) =>
    [`${one.label}, ${one.benchmark}`, one.judges.join(" and "), interval(one.same, 1), fixed(one.kappa, 2), one.same.n])) : null;
}

function dataOf(data) {
  if (Array.isArray(data) && data.length && data.every((row) => row && typeof row === "object" && !Array.isArray(row))) {
    const names = [...new Set(data.flatMap((row) => Object.keys(row)))];
    return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col" }, name.replaceAll("_", " "))))),
      el("tbody", {}, data.map((row) => el("tr", {}, names.map((name) => el("td", {}, dataOf(row[name] ?? null))))))));
  }
  if (data && typeof data === "object") {
    return el("table", {}, el("tbody", {}, Object.entries(data).map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name.replaceAll("_", " ")), el("td", {}, dataOf(value))))));
  }
  return called(data === null ? DASH : typeof data === "number" && !Number.isInteger(data) ? data.toPrecision(4) : String(data));
}

function provenance(group) {
  return group.rows.map((row) => el("details", {}, el("summary", {}, called(row.label), ` · ${row.source}`), el("div", { class: "scroll" }, dataOf(row.provenance))));
}

function sections(group) {
  viewer = group.rows.some((row) => row.texts !== null) ? new Viewer(group) : null;
  return [
    section("figures-table", "Table", null, tableOf(group)),
    section("length", "Figure and length", "Judges tend to prefer longer answers.", lengths(group)),
    section("differences", "Differences", null, compare(group)),
    section("parts", "Breakdown", "A dot a method, with its 95 % interval; in brackets the number of prompts.",
      group.breakdowns.map((found) => [el("h3", {}, `By ${found.by}`), breakdown(group, found)])),
    section("wins", "Wins, ties, losses", null, wins(group)),
    section("judge", "The judge", "Whether it favours a place, and how far judges agree who grade the same answers.", places(group), agreements()),
    section("iterations", "Iterations", null, iterations(group, report.training)),
    section("bridges", "From judge to judge", "Published answers that a new judge has graded again, beside the old judge's verdicts.", report.bridges.map(bridgeOf)),
    section("cost", "Cost", null, costs(group)),
    section("single", "Single comparisons", null, viewer?.node),
    section("provenance", "Provenance", "What each figure was made of.", provenance(group)),
  ].filter(Boolean);
}

async function show(at) {
  const group = report.groups[at];
  document.getElementById("group").value = String(at);
  const found = sections(group);
  const told = report.told.map((line) => el("p", { class: "notes", role: "note" }, line));
  main.replaceChildren(...told, ...found);
  document.getElementById("sections").replaceChildren(...found.map((one) =>
    el("li", {}, el("a", { href: `#${one.id}` }, one.querySelector("h2").textContent))));
}

// An address names a result and a prompt, or a section.
async function follow() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const source = asked.get("result");
  const at = report.groups.findIndex((group) => group.rows.some((row) => row.source === source && row.texts !== null));
  if (at >= 0) {
    if (document.getElementById("group").value !== String(at) || !viewer) show(at);
    await viewer.load(report.groups[at].rows.find((row) => row.source === source), asked.get("prompt"));
    document.getElementById("single").scrollIntoView();
  } else {
    if (!viewer?.row) await begin();
    if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  }
}

async function begin() {
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
document.getElementById("group").append(...report.groups.map((group, at) => el("option", { value: at }, group.title)));
document.getElementById("group").addEventListener("change", async (event) => {
  history.replaceState(null, "", location.pathname + location.search);
  show(Number(event.target.value));
  await begin();
});
addEventListener("hashchange", follow);
theme();
show(0);
follow().then(() => { document.documentElement.dataset.ready = "yes"; });
