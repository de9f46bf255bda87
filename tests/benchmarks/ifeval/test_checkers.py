"""IFEval's checkers: as stored, seeded, and exact where upstream draws."""

import random
import sys

import pytest

from harness.benchmarks.ifeval import checkers, language_data
from harness.benchmarks.ifeval.checkers import LmEvalCheckers
from harness.benchmarks.ifeval.constraints import ConstrainedPrompt, Constraint, check_answer
from harness.benchmarks.ifeval.files import read_contestants
from harness.benchmarks.ifeval.published import ANSWERS, DRAWN, FOLDER, stored_outcomes
from harness.core.config import build, load
from harness.core.hub import ASSETS_VARIABLE
from harness.errors import AssetError, CheckError, MissingDependencyError

pytest.importorskip("lm_eval")


@pytest.fixture
def bench(shared, monkeypatch):
    monkeypatch.setenv(ASSETS_VARIABLE, str(shared / "assets"))
    return build(load("bench", "ifeval"))


def keeps(kind, arguments, text):
    return LmEvalCheckers().keeps(Constraint(kind, arguments), "?", text)


def test_the_verdicts_on_gpt4s_answers_are_the_stored_ones(bench, shared):
    """Without the kinds that need nltk's sentence data, which the tests do not have."""
    questions = [
        q
        for q in bench._questions()
        if not checkers.SENTENCE_KINDS & {c.kind for c in q.constraints} and q.id not in DRAWN
    ][::8]
    folder = shared / "assets" / FOLDER
    answers = read_contestants(next(iter(folder.glob(ANSWERS))), questions)[0].answers
    stored = stored_outcomes(folder, bench._questions())
    for question in questions:
        outcome = check_answer(bench.checkers, question, answers[question.id].text)
        assert (outcome.strict, outcome.loose) == (
            stored[question.id].strict,
            stored[question.id].loose,
        ), question.id


def test_a_character_that_is_no_letter_is_counted():
    arguments = {"letter": "#", "let_relation": "at least", "let_frequency": 4}
    assert keeps("keywords:letter_frequency", arguments, "# # ##")
    assert not keeps("keywords:letter_frequency", arguments, "###")
    arguments = {"letter": "!", "let_relation": "less than", "let_frequency": 2}
    assert not keeps("keywords:letter_frequency", arguments, "!!")
    arguments = {"letter": "A", "let_relation": "at least", "let_frequency": 2}
    assert keeps("keywords:letter_frequency", arguments, "a cat")


def test_draws_are_seeded_and_the_generator_is_as_before():
    random.seed(5)
    state = random.getstate()
    # without a frequency upstream draws one
    arguments = {"letter": "e", "let_relation": "at least"}
    texts = ["e" * n for n in range(1, 12)]
    first = [keeps("keywords:letter_frequency", arguments, text) for text in texts]
    assert first == [keeps("keywords:letter_frequency", arguments, text) for text in texts]
    assert first == sorted(first)
    assert random.getstate() == state


def test_an_argument_of_zero_is_an_argument():
    """lm-eval drops it, and draws instead."""
    arguments = {"letter": "z", "let_relation": "less than", "let_frequency": 0}
    assert not keeps("keywords:letter_frequency", arguments, "no such letter")


def test_a_kind_or_an_argument_that_is_unknown(bench):
    question = ConstrainedPrompt("q", "?", (Constraint("new:kind", {}),))
    assert check_answer(bench.checkers, question, "x").unchecked == ("new:kind",)
    with pytest.raises(CheckError, match="number_words cannot be checked with"):
        keeps("length_constraints:number_words", {"words": 3}, "x")


def test_what_is_missing_is_named_with_its_command(bench, monkeypatch):
    monkeypatch.setattr(language_data, "has_data", lambda name: False)
    with pytest.raises(MissingDependencyError, match=r"punkt_tab.*llama-index-core"):
        bench.checkers.require({"length_constraints:number_sentences"})
    bench.checkers.require({"punctuation:no_comma"})


def test_nothing_is_printed_or_downloaded_while_the_checkers_are_imported(capsys):
    import nltk

    with language_data.without_download():
        sys.stdout.write("Downloaded punkt_tab on rank 0")
        assert nltk.download("punkt_tab") is False
    assert capsys.readouterr().out == ""


def test_nltk_data_in_the_protocol_data_is_found(tmp_path, monkeypatch):
    import nltk

    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setenv(ASSETS_VARIABLE, str(tmp_path))
    (tmp_path / "nltk_data/taggers/tiny").mkdir(parents=True)
    assert language_data.has_data("taggers/tiny")
    assert not language_data.has_data("taggers/other")


def test_the_papers_figures(bench):
    figures = list(bench.published())
    assert all(figure.holds for figure in figures)
    assert [f.published for f in figures[:4]] == [76.89, 83.57, 79.30, 85.37]


def test_there_is_nothing_to_verify_without_published_answers(bench, tmp_path):
    with pytest.raises(AssetError, match="no published verdicts"):
        list(bench.checkers.published(bench._questions(), tmp_path))
