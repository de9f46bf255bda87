// One comparison: the prompt, both answers with their differences, what the judge said in each game.
function comparisonOf(viewer) {
  const { chosen: one, row } = viewer;
  const theirs = viewer.baseline(one);
  const turns = viewer.shared.prompts[one.id] ?? [];
  return [
    el("p", { class: "quiet" }, `${viewer.at + 1} of ${viewer.shown.length} · `, el("a", { href: viewer.address, id: "link" }, "link to this comparison"), " · ", el("code", {}, one.id)),
    el("p", {}, el("strong", {}, verdictOf(one)), " ", one.f.map((flag) => el("span", { class: "tag" }, FLAGS[flag]))),
    turns.length ? el("h3", {}, "Prompt") : null,
    ...turns.map(([role, content]) => el("div", {}, turns.length > 1 ? el("span", { class: "quiet" }, role) : null, el("div", { class: "text", dir: "auto", tabindex: "0" }, content))),
    answersOf(row.label, one.a, row.baseline || "baseline", theirs),
    el("h3", {}, one.g.length === 1 ? "The judge" : `The judge, ${one.g.length} games`),
    one.g.length ? null : el("p", {}, "Not asked: equal answers are a tie."),
    ...one.g.map((game, at) => gameOf(game, at, one.r !== null)),
  ].filter(Boolean);
}

function answersOf(label, ours, name, theirs) {
  if (ours === null) return el("p", { class: "notes" }, "The file that this result came from holds verdicts alone, no answers.");
  if (theirs === null) return el("div", {}, el("h3", {}, called(label)), el("div", { class: "text", dir: "auto", tabindex: "0" }, ours));
  const apart = diff(theirs, ours);
  const side = (title, text, parts, kind) => el("div", {}, el("h3", {}, called(title)),
    el("div", { class: "quiet" }, `${text.length} characters`),
    el("div", { class: "text", dir: "auto", tabindex: "0" }, parts ? parts.map((part) => (part.same ? part.text : el(kind, {}, part.text))) : text));
  return el("div", {},
    el("div", { class: "sides" }, side(label, ours, apart?.[1], "ins"), side(name, theirs, apart?.[0], "del")),
    apart ? null : el("p", { class: "notes" }, "Too long to mark their differences."));
}

function gameOf([order, ours, label, said, model], at, rated) {
  const first = { ours: "this method's answer came first", baseline: "the baseline's answer came first" }[order];
  const found = ours === null ? "could not be read" : rated ? `rated ${ours}` : `this method wins ${(100 * ours).toFixed(1)} %`;
  return el("div", { class: "game" },
    el("p", {}, [`Game ${at + 1}`, first, label, found].filter(Boolean).join(" · "), " ", el("span", { class: "quiet" }, called(model))),
    said ? el("div", { class: "text", dir: "auto", tabindex: "0" }, said) : el("p", { class: "notes" }, "No text of the reply was kept."));
}
