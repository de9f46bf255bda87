// One comparison: the prompt, both answers with their differences, the judge's reply in each game.
function comparisonDetail(viewer) {
  const { selected, row } = viewer;
  const baseline = viewer.baselineAnswer(selected);
  const turns = viewer.shared.prompts[selected.id] ?? [];
  return [
    el("p", { class: "quiet" }, `${viewer.index + 1} of ${viewer.shown.length} · `, el("a", { href: viewer.address, id: "link" }, "link to this comparison"), " · ", el("code", {}, selected.id)),
    el("p", {}, el("strong", {}, outcomeText(selected)), " ", selected.f.map((flag) => el("span", { class: "tag" }, FLAGS[flag]))),
    turns.length ? el("h3", {}, "Prompt") : null,
    ...turns.map(([role, content]) => el("div", {}, turns.length > 1 ? el("span", { class: "quiet" }, role) : null, el("div", { class: "text", dir: "auto", tabindex: "0" }, content))),
    answerPanel(row.label, selected.a, row.baseline || "baseline", baseline),
    el("h3", {}, selected.g.length === 1 ? "The judge" : `The judge, ${selected.g.length} games`),
    selected.g.length ? null : el("p", {}, "Not judged: identical answers are a tie."),
    ...selected.g.map((game, index) => gamePanel(game, index, selected.r !== null)),
  ].filter(Boolean);
}

function answerPanel(label, answer, baselineLabel, baseline) {
  if (answer === null) return el("p", { class: "notes" }, "The file of this result holds verdicts only, without answers.");
  if (baseline === null) return el("div", {}, el("h3", {}, isolated(label)), el("div", { class: "text", dir: "auto", tabindex: "0" }, answer));
  const differences = diff(baseline, answer);
  const side = (title, text, parts, kind) => el("div", {}, el("h3", {}, isolated(title)),
    el("div", { class: "quiet" }, `${text.length} characters`),
    el("div", { class: "text", dir: "auto", tabindex: "0" }, parts ? parts.map((part) => (part.same ? part.text : el(kind, {}, part.text))) : text));
  return el("div", {},
    el("div", { class: "sides" }, side(label, answer, differences?.[1], "ins"), side(baselineLabel, baseline, differences?.[0], "del")),
    differences ? null : el("p", { class: "notes" }, "Too long to mark their differences."));
}

function gamePanel([order, score, label, reply, model], index, rated) {
  const first = { ours: "this method's answer came first", baseline: "the baseline's answer came first" }[order];
  const verdict = score === null ? "unparsed" : rated ? `rated ${score}` : `this method wins ${(100 * score).toFixed(1)} %`;
  return el("div", { class: "game" },
    el("p", {}, [`Game ${index + 1}`, first, label, verdict].filter(Boolean).join(" · "), " ", el("span", { class: "quiet" }, isolated(model))),
    reply ? el("div", { class: "text", dir: "auto", tabindex: "0" }, reply) : el("p", { class: "notes" }, "The text of the reply was not stored."));
}
