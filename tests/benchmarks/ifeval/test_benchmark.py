"""Instruction following: the strict and the loose rule, files, figures, and bad input."""

import gzip
import json

import pytest

from harness.benchmarks.ifeval.benchmark import InstructionFollowing
from harness.benchmarks.ifeval.constraints import (
    ConstrainedPrompt,
    Constraint,
    check_answer,
    loose_variants,
    without_thinking,
)
from harness.benchmarks.ifeval.preference import KeptConstraints
from harness.core.config import build
from harness.errors import CheckError, ConfigError, InputError, MissingDependencyError
from harness.evaluation.run import Evaluation, evaluate
from harness.evaluation.verdict_files import score_file
from harness.judges.program import ProgramJudge
from harness.protocols import Benchmark, CheckedBenchmark, Sampling
from harness.types import Comparison, Message, Prompt
from tests.benchmarks.ifeval.conftest import question_rows
from tests.benchmarks.ifeval.words import WordCheckers

ANSWERS = {"Begin with Yes.": "Yes.", "Not no.": "no:\nYes, no", "Neither.": "a *b*"}
"""a keeps 1 of 1; b strictly 0 of 2, loosely 1 (without its first line); c 2 of 2."""


def response_rows(answers=ANSWERS):
    return [{"prompt": prompt, "response": response} for prompt, response in answers.items()]


def values(score):
    return {name: estimate.value for name, estimate in score.estimates.items()}


def score_of(bench, path):
    (submission,) = score_file(bench, path)
    return submission.score


def test_the_loose_rule_has_eight_texts():
    assert loose_variants("a\n*b*\nc") == [
        "*b*\nc",
        "a\n*b*",
        "*b*",
        "a\nb\nc",
        "b\nc",
        "a\nb",
        "b",
    ]
    assert loose_variants("one line") == []


def test_a_constraint_holds_loosely_if_any_text_keeps_it_and_each_on_its_own():
    constraints = (
        Constraint("words:first", {"word": "b"}),
        Constraint("words:none", {"word": "*"}),
    )
    outcome = check_answer(WordCheckers(), ConstrainedPrompt("q", "?", constraints), "a\nb *")
    assert (outcome.strict, outcome.loose) == ((False, False), (True, True))


def test_a_blank_answer_keeps_nothing_and_thinking_is_not_the_answer():
    question = ConstrainedPrompt("q", "?", (Constraint("words:none", {"word": "no"}),))
    assert check_answer(WordCheckers(), question, " \n").strict == (False,)
    assert check_answer(WordCheckers(), question, "<think>no</think>\nyes").strict == (True,)
    assert without_thinking("<think>it never ends") == ""


def test_the_levels_and_their_means(bench, write):
    score = score_of(bench, write("a.jsonl", response_rows()))
    # strict: prompts a and c, constraints 1 + 0 + 2 of 5; loose: b keeps one more
    expected = {
        "prompt_level_strict": 200 / 3,
        "instruction_level_strict": 60,
        "mean_level_strict": (200 / 3 + 60) / 2,
        "prompt_level_loose": 200 / 3,
        "instruction_level_loose": 80,
        "mean_level_loose": (200 / 3 + 80) / 2,
    }
    assert values(score) == pytest.approx(expected)
    for metric, value in expected.items():  # what paired tests compare
        items = [item[metric] for item in score.items]
        assert sum(items) / len(items) == pytest.approx(value)
    assert score.details["by_kind"]["words:first"] == {
        "instructions": 2,
        "strict": 50,
        "loose": 100,
    }


def test_a_prompt_without_an_answer_counts_as_failed_or_is_left_out(bench, write):
    path = write("a.jsonl", response_rows()[:2])
    score = score_of(bench, path)
    assert (score.counts["asked"], score.counts["unanswered"]) == (3, 1)
    assert score.estimates["prompt_level_strict"].value == pytest.approx(100 / 3)
    assert "1 prompts have no answer and count as failed" in score.notes
    dropping = bench.scoring.model_copy(update={"missing": "dropped"})
    dropped = score_of(bench.model_copy(update={"scoring": dropping}), path)
    assert dropped.counts["asked"] == 2
    assert "1 prompts without an answer are dropped" in dropped.notes


def test_rows_that_do_not_count_are_reported(bench, write):
    rows = [*response_rows(), {"prompt": "Another.", "response": "x"}]
    rows += [{"prompt": " Begin with Yes. ", "response": "No."}, rows[1]]
    score = score_of(bench, write("a.jsonl", rows))
    assert score.counts["asked"] == 3
    assert score.estimates["prompt_level_strict"].value == pytest.approx(100 / 3)  # the last counts
    assert "1 rows are on other prompts and do not count, e.g. 'Another.'" in score.notes
    assert any(note.startswith("2 rows are repeated (1 of them differ)") for note in score.notes)
    with pytest.raises(InputError, match="remove those rows"):
        bench.read_answers(write("b.jsonl", rows))


def test_a_constraint_that_no_checker_knows_counts_as_not_kept_and_is_reported(write):
    rows = question_rows([("a", "?", [("words:none", {"word": "x"}), ("new:kind", {})])])
    bench = InstructionFollowing(
        name="words",
        questions=str(write("q.jsonl", rows)),
        checkers=WordCheckers(),
        sampling=Sampling(),
    )
    score = score_of(bench, write("a.jsonl", [{"prompt": "?", "response": "y"}]))
    assert values(score)["instruction_level_loose"] == 50
    assert (score.counts["instructions"], score.counts["unchecked"]) == (2, 1)
    assert any("(1 x new:kind)" in n and "would be 100.00" in n for n in score.notes)


def test_answers_are_read_in_the_layouts_of_other_tools(bench, write, tmp_path):
    lm_eval = [
        {"doc": {"prompt": p, "key": 1}, "resps": [[r]], "filtered_resps": [r]}
        for p, r in ANSWERS.items()
    ]
    alpaca = [{"instruction": p, "output": r, "generator": "me"} for p, r in ANSWERS.items()]
    expected = values(score_of(bench, write("a.jsonl", response_rows())))
    assert values(score_of(bench, write("samples.jsonl", lm_eval))) == expected
    path = tmp_path / "outputs.json.gz"
    path.write_bytes(gzip.compress(json.dumps(alpaca).encode()))
    (submission,) = score_file(bench, path)
    assert (submission.graded.label, values(submission.score)) == ("me", expected)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "Neither.", "response": 3}, "row 1 does not fit"),
        ({"prompt": "Neither."}, "has no 'response'"),
        ({"key": "b", "strict": [True], "loose": [True]}, "has 1 verdicts, and prompt b has 2"),
        ({"key": "b", "strict": [1, 0], "loose": [True, True]}, "no list of booleans"),
        ({"prompt": "Another.", "response": "x"}, "no row is on a prompt of this benchmark"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(bench, write, row, message):
    with pytest.raises(InputError, match=message):
        bench.read_verdicts(write("a.jsonl", [row]))


def test_a_file_that_is_cut_off_is_refused(bench, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(response_rows()[0]) + '\n{"prompt": "Nei')
    with pytest.raises(InputError, match="line 2 is not JSON.*cut off"):
        bench.read_verdicts(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kwargs": []}, "1 instructions, and 0 objects"),
        ({"instruction_id_list": "words:first"}, "no list of names"),
        ({"prompt": None}, "'prompt' is null"),
    ],
)
def test_questions_that_do_not_fit_are_refused(bench, write, change, message):
    path = write("q.jsonl", [question_rows()[0] | change])
    with pytest.raises(InputError, match=message):
        bench.model_copy(update={"questions": str(path)}).prompts()


def test_a_key_that_is_there_twice_is_refused(bench, write):
    double = write("d.jsonl", [question_rows()[0]] * 2)
    bench = bench.model_copy(update={"questions": str(double)})
    with pytest.raises(InputError, match="the key a is there twice"):
        bench.prompts()


def test_a_result_goes_out_and_comes_in_again(bench, write, workspace, tmp_path):
    path = write("me.jsonl", [row | {"finish_reason": "stop"} for row in response_rows()])
    evaluation = Evaluation(bench, ProgramJudge(bench), answers=path)
    result = evaluate(evaluation, workspace)
    assert (result.label, result.judges_served) == ("me", ("word checkers 1",))
    assert result.usage.dollars == 0
    (graded,) = bench.read_verdicts(path)
    for name, text in bench.files(graded).items():
        copied = tmp_path / name
        copied.write_text(text)
        assert values(score_of(bench, copied)) == values(result.score), name
    strict = bench.files(graded)["eval_results_strict.jsonl"].splitlines()
    assert json.loads(strict[1])["follow_instruction_list"] == [False, False]


def test_it_is_a_benchmark_that_a_program_checks(bench):
    assert isinstance(bench, Benchmark)
    assert isinstance(bench, CheckedBenchmark)
    missing = bench.model_copy(update={"checkers": WordCheckers(installed=False)})
    with pytest.raises(MissingDependencyError, match="dictionary"):
        missing.check((), lambda _: None)


def test_a_judge_is_refused(bench, workspace, write):
    from harness.api.evaluation import prepare

    path = write("a.jsonl", response_rows())
    with pytest.raises(ConfigError, match="leave out the judge"):
        prepare(bench, workspace, answers=path, judge="toy")
    assert prepare(bench, workspace, answers=path).judge.model == "word checkers 1"


def test_the_oracle_prefers_the_response_that_keeps_more(bench):
    rule = KeptConstraints(questions=bench.questions, checkers=WordCheckers())
    assert rule("Not no.", "Yes, no", "Well, no") == 0.75  # (1 + 1/2 - 0) / 2
    assert rule("Not no.", "no", "well, no") == 0.5
    assert rule("Begin with Yes.", "No", "Yes") == 0
    with pytest.raises(CheckError, match="no constraints for the prompt"):
        rule("Another.", "a", "b")
    spec = {"use": "harness.oracles.rule:RuleOracle", "rule": rule, "transitive": True}
    comparison = Comparison(Prompt("p", (Message("user", " Not no. "),)), "Yes", "no")
    assert build(spec).compare([comparison], lambda _: None) == [1.0]
