"""The runner: answers from a file or a policy, verdicts from a judge, a result in the workspace."""

import json
import math
from dataclasses import replace

import pytest
from pydantic import Field

from harness.benchmarks.toy.benchmark import ToyLabels, ToyWeighted
from harness.core.config import Component
from harness.core.stages import ExternalInput
from harness.core.workspace import read_result, result_path
from harness.errors import (
    AssetError,
    CheckError,
    ConfigError,
    InputError,
    JudgeError,
    StoreError,
)
from harness.evaluation.run import Evaluation, evaluate, plan
from harness.evaluation.second_opinions import SecondOpinions
from harness.evaluation.submissions import answer_stage, load_answers
from harness.judges import chat_format
from harness.judges.cached import CachedJudge
from harness.protocols import Sampling
from harness.toy import judge
from harness.types import Completion, Estimate, Policy, RawReply

COUNT = 12


class Weights(Component):
    """A policy with a name and no weights."""

    name: str

    def weights(self):
        return ExternalInput(self.name, self.name)

    def with_weights(self, path):
        return Policy(self.name, path)


class Parrot(Component):
    """An engine that repeats the first words of the prompt, more of them for the policy `ours`."""

    words: int = 9
    calls: list[str] = Field(exclude=True)

    def generate(self, policy, requests, sampling, advance):
        self.calls.append(policy.name)
        advance(len(requests))
        keep = self.words if policy.name == "ours" else 2
        return [
            Completion(
                r.prompt.id, 0, " ".join(r.prompt.text.split()[:keep]), (), (), "stop", r.seed
            )
            for r in requests
        ]


class ToyClient:
    """A client that grades in this process as the toy judge's server would."""

    model, served_as, unparsed_attempts = judge.MODEL, (), 2
    url, concurrency, retry_missing, display_name = "", 1, False, "the toy judge"

    def __init__(self):
        self.asked, self.grade = 0, judge.grade

    def body(self, request):
        return chat_format.body_of(self.model, request)

    def ask(self, queue):
        while (item := queue.next()) is not None:
            index, body = item
            self.asked += 1
            reply = self.grade(chat_format.messages_of(body), body)
            queue.keep([RawReply(index, json.dumps(chat_format.completion_of(reply, body)), 0.1)])


def bench(kind=ToyWeighted, count=COUNT):
    return kind(count=count, baseline=Weights(name="base"), sampling=Sampling(max_tokens=9))


@pytest.fixture
def client():
    return ToyClient()


@pytest.fixture
def evaluation(client, workspace):
    judge = CachedJudge(client=client, store=workspace.verdicts)
    return Evaluation(bench(), judge, policy=Weights(name="ours"), engine=Parrot(calls=[]))


def change(evaluation, **fields):
    return Evaluation(**{**vars(evaluation), **fields})


def test_a_policy_answers_is_judged_and_leaves_a_result(evaluation, client, workspace):
    result = evaluate(evaluation, workspace)
    assert (result.benchmark, result.label, result.baseline) == ("toy-weighted", "ours", "base")
    assert result.judges_served == (judge.MODEL,)
    assert result.new_requests == result.requests == client.asked
    assert result.answers == COUNT
    assert evaluation.engine.calls == ["ours", "base"]
    path = workspace.root / "results" / "toy-weighted" / "ours.json"
    stored = read_result(path)
    assert stored.score.estimates == result.score.estimates
    assert isinstance(stored.score.estimates["win_rate"], Estimate)
    assert stored.judge == judge.MODEL
    assert len(json.loads((path.with_suffix("") / "items.json").read_text())) == COUNT


def test_a_result_tells_the_hours_and_an_older_one_tells_nothing_of_them(evaluation, workspace):
    result = evaluate(evaluation, workspace)
    # the weights are external: nothing was trained here
    assert result.hours["training"] == {}
    assert next(iter(result.hours["answering"].values())) > 0
    path = workspace.root / "results" / "toy-weighted" / "ours.json"
    data = json.loads(path.read_text())
    assert data["hours"] == result.hours
    for key in ("hours", "run", "identity", "identity_sha256", "files", "sha256"):
        del data[key]
    path.write_text(json.dumps({**data, "schema": 2}))
    older = read_result(path)
    assert (older.hours, older.run, older.schema) == (None, None, 2)


def test_what_a_file_answers_has_no_hours(evaluation, workspace, tmp_path):
    evaluate(evaluation, workspace)
    answers = workspace.root / "results" / "toy-weighted" / "ours" / "model_outputs.json"
    again = change(evaluation, answers=answers, policy=None, label="file")
    assert evaluate(again, workspace).hours is None


class OfRun(Weights):
    """A policy that a run trained."""

    def run(self):
        return {"name": "sweep/7", "method": "INPO", "iteration": 2, "base": "sft"}


def test_a_result_names_the_run_that_made_its_policy(evaluation, workspace):
    assert evaluate(evaluation, workspace).run is None
    result = evaluate(change(evaluation, policy=OfRun(name="ours")), workspace)
    assert result.run == OfRun(name="ours").run()


def test_what_the_judge_is_asked_with_holds_its_own_settings(evaluation, client, workspace):
    plain = evaluate(evaluation, workspace).judge_settings
    assert plain == dict(ToyWeighted.parameters)
    body = client.body
    client.body = lambda request: {**body(request), "reasoning_effort": "low"}
    assert evaluate(evaluation, workspace).judge_settings == {**plain, "reasoning_effort": "low"}


def test_answers_and_verdicts_leave_in_alpaca_evals_formats(evaluation, workspace):
    evaluate(evaluation, workspace)
    beside = workspace.root / "results" / "toy-weighted" / "ours"
    rows = json.loads((beside / "model_outputs.json").read_text())
    assert set(rows[0]) == {"dataset", "instruction", "output", "generator"}
    verdicts = json.loads((beside / "annotations.json").read_text())
    items = json.loads((beside / "items.json").read_text())
    assert [v["preference"] - 1 for v in verdicts] == pytest.approx(
        [item["preference"] for item in items]
    )
    assert (verdicts[0]["generator_1"], verdicts[0]["generator_2"]) == ("base", "ours")
    assert verdicts[0]["output_2"] == rows[0]["output"]


def test_the_answers_that_left_come_in_again(evaluation, workspace):
    first = evaluate(evaluation, workspace)
    beside = workspace.root / "results" / "toy-weighted" / "ours"
    again = change(evaluation, policy=None, answers=beside / "model_outputs.json", label="again")
    second = evaluate(again, workspace)
    assert second.score.estimates == first.score.estimates
    assert second.answers_sha256 == first.answers_sha256
    assert (second.new_requests, second.label) == (0, "again")


def test_a_second_time_nothing_is_made_or_asked(evaluation, client, workspace):
    first = evaluate(evaluation, workspace)
    asked = client.asked
    second = evaluate(evaluation, workspace)
    assert client.asked == asked
    assert evaluation.engine.calls == ["ours", "base"]
    assert second.new_requests == 0
    assert second.score == first.score


def test_two_benchmarks_share_the_answers_to_the_same_prompts(evaluation, workspace):
    evaluate(evaluation, workspace)
    result = evaluate(change(evaluation, benchmark=bench(ToyLabels)), workspace)
    assert result.benchmark == "toy-labels"
    assert evaluation.engine.calls == ["ours", "base"]
    assert not (workspace.root / "results" / "toy-labels" / "ours" / "annotations.json").exists()


def test_a_plan_makes_nothing(evaluation, client, workspace):
    before = plan(evaluation, workspace)
    assert [path for _, path in before.stages] == [None, None]
    assert (before.requests, before.new_requests) == (None, None)
    assert not workspace.root.exists()
    evaluate(evaluation, workspace)
    after = plan(evaluation, workspace)
    assert all(path for _, path in after.stages)
    assert (after.requests, after.new_requests) == (client.asked, 0)


def test_an_answer_depends_on_its_own_prompt_only(evaluation, workspace):
    few, many = (
        answer_stage(evaluation.policy, bench(count=n), evaluation.engine, 7) for n in (4, 9)
    )
    seeds = []

    class Spy(Parrot):
        def generate(self, policy, requests, sampling, advance):
            seeds.append([(r.prompt.id, r.seed, r.n) for r in requests])
            return super().generate(policy, requests, sampling, advance)

    for n in (4, 9):
        stage = answer_stage(evaluation.policy, bench(count=n), Spy(calls=[]), 7)
        assert len(load_answers(workspace.stages.materialize(stage).path)) == n
    assert seeds[1][:4] == seeds[0]
    assert len({seed for _, seed, _ in seeds[1]}) == 9
    assert few.config != many.config


class Gappy(Parrot):
    """An engine whose server does not answer some prompts, by policy."""

    gaps: dict = Field(exclude=True)
    asked: list = Field(default_factory=list, exclude=True)
    retry_missing: bool = Field(False, exclude=True)

    def generate(self, policy, requests, sampling, advance):
        self.asked.extend((policy.name, request.prompt.id) for request in requests)
        gaps = self.gaps.get(policy.name, ())
        return [
            replace(c, text="refused: 403: flagged", finish_reason="missing")
            if c.prompt_id in gaps
            else c
            for c in super().generate(policy, requests, sampling, advance)
        ]


def test_prompts_that_the_engine_does_not_answer_are_counted_and_asked_again(evaluation, workspace):
    first, second, third = (prompt.id for prompt in evaluation.benchmark.prompts()[:3])
    engine = Gappy(calls=[], gaps={"ours": [first, second], "base": [third]})
    result = evaluate(change(evaluation, engine=engine), workspace)
    assert result.missing == 3
    assert result.score.counts["judged"] == COUNT - 3
    notes = " ".join(result.score.notes)
    assert "refused 2 prompts or never answered them (2 x refused: 403: flagged)" in notes
    assert "--retry-unread" in notes
    engine.asked.clear()
    evaluate(change(evaluation, engine=engine), workspace)
    assert engine.asked == []  # what is missing is asked again where that is wanted only
    again = Gappy(calls=[], gaps={"ours": [second]}, retry_missing=True)
    result = evaluate(change(evaluation, engine=again, label="again"), workspace)
    assert sorted(again.asked) == sorted([("ours", first), ("ours", second), ("base", third)])
    assert result.missing == 1
    assert result.score.counts["judged"] == COUNT - 1
    result = evaluate(change(evaluation, engine=engine, label="later"), workspace)
    assert (result.missing, engine.asked) == (1, [])  # the latest answers count from then on
    full = Gappy(calls=[], gaps={}, retry_missing=True)
    result = evaluate(change(evaluation, engine=full, label="full"), workspace)
    assert (result.missing, full.asked) == (0, [("ours", second)])


def test_a_judge_whose_replies_say_nothing_makes_no_figure(evaluation, client, workspace):
    good, client.grade = client.grade, lambda *_: judge.reply("I cannot judge this.", None)
    with pytest.raises(CheckError, match="none of the first 20 replies .* no log-probab"):
        evaluate(evaluation, workspace)
    assert not (workspace.root / "results").exists()
    client.grade, client.unparsed_attempts = good, 4
    assert evaluate(evaluation, workspace).score.counts["unparsed"] == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"policy": None}, "either an answers file or a policy"),
        ({"answers": "x.json"}, "either an answers file or a policy"),
        ({"engine": None}, "name an engine with --engine"),
    ],
)
def test_what_is_missing_is_reported(evaluation, workspace, fields, message):
    for call in (evaluate, plan):
        with pytest.raises(ConfigError, match=message):
            call(change(evaluation, **fields), workspace)


def test_missing_answers_are_dropped_from_both_sides_and_counted(evaluation, workspace):
    evaluate(evaluation, workspace)
    path = workspace.root / "results" / "toy-weighted" / "ours" / "model_outputs.json"
    path.write_text(json.dumps(json.loads(path.read_text())[3:]))
    part = change(evaluation, policy=None, answers=path, label="part")
    with pytest.raises(InputError, match=f"3 of {COUNT} prompts have no answer.*--allow-missing"):
        evaluate(part, workspace)
    result = evaluate(change(part, allow_missing=True), workspace)
    assert (result.answers, result.missing, len(result.score.items)) == (COUNT - 3, 3, COUNT - 3)
    assert "3 prompts without an answer are dropped" in result.score.notes


@pytest.mark.parametrize(
    "label",
    [
        "",
        "../../x",
        "a/b",
        "/etc",
        ".",
        "..",
        ".hidden",
        "x" * 400,
        "a\x1b\n",
        "x.json",
        "ü",
        "\ud800",
    ],
)
def test_no_label_leaves_the_folder_or_meets_another(workspace, label):
    path = result_path(workspace, "b", label)
    assert path.parent == workspace.root / "results" / "b"
    assert path.name.isascii()
    assert path.name.isprintable()
    assert not path.name.startswith(".")
    assert len(path.name) < 200
    assert path.with_suffix("").name != result_path(workspace, "b", "x").name


def test_labels_that_differ_have_files_that_differ(workspace):
    labels = ["", "%", "a/b", "a-b", "a%2Fb", "a b", "a_b", "A/B", "x" * 300, "x" * 301]
    assert len({result_path(workspace, "b", label) for label in labels}) == len(labels)


def test_a_damaged_result_is_reported(tmp_path):
    path = tmp_path / "r.json"
    path.write_text('{"score": {}}')
    with pytest.raises(StoreError, match="run `harness eval` again"):
        read_result(path)


class Contrary(ToyClient):
    """An unrelated judge, which prefers the other answer."""

    model = "contrary"

    def __init__(self):
        super().__init__()
        self.grade = lambda messages, body: replace(
            judge.reply("m", (tuple((t, math.log(p)) for t, p in (("m", 0.9), ("M", 0.1))),)),
            model=self.model,
        )


class Enthusiast(Component):
    """An oracle that prefers the policy's answers with 0.9."""

    def compare(self, comparisons, advance):
        advance(len(comparisons))
        return [0.9] * len(comparisons)


def test_further_opinions_are_details_and_notes_and_change_no_figure(evaluation, workspace):
    plain = evaluate(evaluation, workspace)
    second = Contrary()
    opinions = SecondOpinions(
        CachedJudge(client=second, store=workspace.verdicts), Enthusiast(), "enthusiast", 8
    )
    result = evaluate(change(evaluation, opinions=opinions), workspace)
    assert result.score.estimates == plain.score.estimates
    stored = read_result(workspace.root / "results" / "toy-weighted" / "ours.json")
    judged = stored.score.details["second_judge"]
    assert (judged["judge"], judged["prompts"]) == ("contrary", second.asked)
    assert judged["verdicts"] == judged["usage"]["calls"] == second.asked <= 8
    assert 0 < judged["disagreement"]["value"] <= 100
    compared = stored.score.details["oracle"]
    assert compared["excess"]["value"] == pytest.approx(
        compared["oracle_win_rate"]["value"] - compared["judge_win_rate"]["value"]
    )
    notes = " | ".join(stored.score.notes)
    assert "a second judge, contrary, disagrees on " in notes
    assert "the oracle enthusiast gives a win rate of " in notes


def test_a_second_judge_is_looked_at_before_a_policy_answers(evaluation, client, workspace):
    opinions = SecondOpinions(Unready(client=client, store=workspace.verdicts))
    with pytest.raises(JudgeError, match="no server"):
        evaluate(change(evaluation, opinions=opinions), workspace)
    assert evaluation.engine.calls == []


class Unready(CachedJudge):
    """A judge that is known to be of no use."""

    def check_ready(self):
        raise JudgeError("no server listens there")


def test_a_judge_is_looked_at_before_a_policy_answers_and_not_after(evaluation, client, workspace):
    unready = Unready(client=client, store=workspace.verdicts)
    with pytest.raises(JudgeError, match="no server"):
        evaluate(change(evaluation, judge=unready), workspace)
    assert (evaluation.engine.calls, client.asked) == ([], 0)
    evaluate(evaluation, workspace)
    evaluate(change(evaluation, judge=unready), workspace)  # everything is there


class Referenced(ToyWeighted):
    """A benchmark with another judge's reference answers."""

    def prompts(self):
        return [replace(p, meta={**p.meta, "references": "gpt-4"}) for p in super().prompts()]


class WithoutTexts(ToyWeighted):
    """A benchmark whose judge prompts are missing."""

    def requests(self, answers, baseline):
        raise AssetError("no reference answers")


def test_what_needs_no_answers_is_looked_at_before_a_policy_answers(evaluation, workspace):
    for kind, error in ((Referenced, CheckError), (WithoutTexts, AssetError)):
        with pytest.raises(error, match="reference answers"):
            evaluate(change(evaluation, benchmark=bench(kind)), workspace)
    assert evaluation.engine.calls == []


def test_a_plan_says_what_needs_no_answers_before_there_are_any(evaluation, workspace):
    (finding,) = plan(change(evaluation, benchmark=bench(Referenced)), workspace).findings
    assert (finding.level, "against the reference answers of gpt-4" in finding.message) == (
        "stop",
        True,
    )
    with pytest.raises(AssetError, match="no reference answers"):
        plan(change(evaluation, benchmark=bench(WithoutTexts)), workspace)
