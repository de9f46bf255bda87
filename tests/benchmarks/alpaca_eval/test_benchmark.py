"""AlpacaEval 2.0: the order of the answers, the parsing of a reply, the published figures."""

import importlib.util
import math
import random
from dataclasses import replace

import pytest

from harness.benchmarks.alpaca_eval import benchmark as alpaca_eval
from harness.benchmarks.alpaca_eval import files, judge_prompt
from harness.benchmarks.alpaca_eval.benchmark import AlpacaEval, is_ours_first, prompt_id
from harness.core.config import build, load
from harness.core.hub import ASSETS_VARIABLE
from harness.errors import AssetError, CheckError, MissingDependencyError
from harness.protocols import Benchmark
from harness.types import Answer, Graded, ParsedVerdict, Reply, Verdict

ROWS = [
    {"instruction": text, "output": f"base {text}", "generator": "base", "dataset": "d"}
    for text in ("What is a fox?", "Name a colour.", "Count to 3.", "Say {output_1}!", "é")
]


def cached_rows(_):
    return tuple(ROWS)


@pytest.fixture
def benchmark(monkeypatch, tmp_path):
    monkeypatch.setattr(alpaca_eval, "_rows", cached_rows)
    monkeypatch.setenv(ASSETS_VARIABLE, str(tmp_path))
    return build(load("bench", "alpaca-eval"))


def reply(*top, positions=1):
    return Reply("m", (tuple(top),) * positions, "stop", "j", 1, 1)


def answers(*texts):
    return [Answer(prompt_id(r["instruction"]), t) for r, t in zip(ROWS, texts, strict=True)]


def test_it_is_a_benchmark(benchmark):
    assert isinstance(benchmark, Benchmark)
    assert benchmark.name == "alpaca-eval"
    first = benchmark.prompts()[0]
    assert first.text == "What is a fox?"
    assert first.meta == {"dataset": "d", "baseline": "base"}


def test_a_prompts_id_does_not_depend_on_its_place(benchmark, monkeypatch):
    before = {p.text: p.id for p in benchmark.prompts()}
    monkeypatch.setattr(alpaca_eval, "_rows", lambda _: tuple(reversed(ROWS)))
    assert {p.text: p.id for p in benchmark.prompts()} == before
    assert len(set(before.values())) == len(ROWS)


def test_the_order_is_drawn_from_the_instruction_alone():
    drawn = [is_ours_first(f"instruction {i}") for i in range(1000)]
    assert drawn == [is_ours_first(f"instruction {i}") for i in range(1000)]
    assert 430 < sum(drawn) < 570
    rng = random.Random("is_switched_outputsinstruction 70")
    assert is_ours_first("instruction 7") is rng.choices([False, True], k=1)[0]


def test_a_request_is_the_official_one(benchmark):
    ours = answers("A", "B", "C", "D", "E")
    requests = benchmark.requests(ours, benchmark.baseline_answers())
    assert [r.id for r in requests] == [a.prompt_id for a in ours]
    request = requests[0]
    assert [m.role for m in request.messages] == ["system", "user"]
    assert '"instruction": """What is a fox?"""' in request.messages[1].content
    assert request.parameters == {
        "max_tokens": 1,
        "temperature": 1,
        "top_p": 1.0,
        "logprobs": True,
        "top_logprobs": 5,
    }


def test_the_drawn_order_decides_which_answer_is_m(benchmark):
    ours = answers(*[f"ours {i}" for i in range(5)])
    requests = benchmark.requests(ours, benchmark.baseline_answers())
    for row, request in zip(ROWS[:3], requests, strict=False):
        text = request.messages[1].content
        ours_first = text.index("ours") < text.index("base")
        assert ours_first is is_ours_first(row["instruction"])


def score_of(benchmark, ours, theirs, verdicts):
    """Return the score of one contestant."""
    prompts = tuple(benchmark.prompts())
    return benchmark.score(
        [Graded("me", "j", tuple(ours), tuple(theirs), tuple(verdicts), prompts)]
    )[0]


def test_equal_answers_are_not_asked_and_are_draws(benchmark):
    baseline = benchmark.baseline_answers()
    assert benchmark.requests(baseline, baseline) == []
    score = score_of(benchmark, baseline, baseline, [])
    assert score.estimates["win_rate"].value == 50
    assert score.estimates["win_rate"].standard_error == 0
    assert score.counts["n_draws"] == score.counts["n_total"] == 5


@pytest.mark.parametrize(
    ("top", "value"),
    [
        ([("m", -1.0), ("M", -1.0)], 0.5),
        ([("m", math.log(0.6)), ("M", math.log(0.2)), ("x", -3.0)], 0.75),
        ([("m", -2.0), ("x", -0.1)], 1.0),
        ([("M", math.log(0.2)), (" m", math.log(0.6))], 0.75),
        ([("m", math.log(0.3)), ("M", math.log(0.2)), ("m", math.log(0.3))], 0.6),
        ([("m", math.log(0.3)), ("M", math.log(0.2)), ("▁m", math.log(0.1))], 2 / 3),
        ([("m", -9999.0), ("M", -10000.0)], 1 / (1 + math.exp(-1))),
        ([("m", -math.inf), ("M", -2.0)], 0.0),
        ([("m", 0.0), ("M", -5000.0)], 1.0),
    ],
)
def test_a_preference_is_read_from_the_log_probabilities(benchmark, top, value):
    assert benchmark.parse([reply(*top)]) == ParsedVerdict(pytest.approx(value, abs=1e-15))


@pytest.mark.parametrize(
    "unreadable",
    [
        reply(("x", -0.1), (" mm", -3.0)),
        reply(("m", 0.1), ("M", -1.0)),
        reply(("m", -0.5), ("M", -1.0), ("x", 0.5)),
        reply(),
        reply(("m", math.nan), ("M", -1.0)),
        reply(("m", math.inf), ("M", -1.0)),
        reply(("m", -math.inf), ("M", -math.inf)),
        Reply("m", (((("m", -1.0),)),), "content_filter", "j", 1, 1),
        reply(("m", -1.0), positions=0),
        Reply("m", None, "stop", "j", 1, 1),
    ],
)
def test_without_either_identifier_nothing_is_read(benchmark, unreadable):
    assert benchmark.parse([unreadable]) is None


def test_the_first_place_of_a_longer_reply_is_read(benchmark):
    longer = Reply("m is best", ((("m", 0.0),), (("M", 0.0),)), "stop", "j", 1, 3)
    assert benchmark.parse([longer]) == ParsedVerdict(1.0)


def test_a_verdict_keeps_how_much_probability_it_rests_on(benchmark):
    parsed = benchmark.parse([reply(("The", -0.02), ("M", math.log(0.007)))])
    assert parsed == ParsedVerdict(0.0)
    assert parsed.mass == pytest.approx(0.007)
    assert parsed.spelled


def test_a_judge_that_never_spells_the_labels_is_known(benchmark):
    spaced = [reply((" m", -0.1), (" M", -2.4))]
    assert not benchmark.parse(spaced).spelled
    assert benchmark.model_copy(update={"any_spelling": True}).parse(spaced).spelled


def test_the_figures_are_the_published_ones(benchmark):
    ours = answers("one", "two", "three", ROWS[3]["output"], "Ä" * 6)
    # in the order of the request: P(first preferred); ours is first if the order is switched
    wanted = {0: 0.9, 1: 0.4, 2: None}
    verdicts = []
    for i, value in wanted.items():
        turned = value if value is None or is_ours_first(ROWS[i]["instruction"]) else 1 - value
        verdicts.append(Verdict(ours[i].prompt_id, turned and ParsedVerdict(turned), "j"))
    verdicts.append(Verdict(ours[4].prompt_id, ParsedVerdict(float(is_ours_first("é"))), "j"))
    score = score_of(benchmark, ours, benchmark.baseline_answers(), verdicts)
    # judged: 0.9, 0.4, the draw 0.5, and 1; the third is unparsed
    rate = score.estimates["win_rate"]
    assert rate.value == pytest.approx(100 * 2.8 / 4)
    # variance (0.2² + 0.3² + 0.2² + 0.3²) / 3 = 0.26 / 3
    assert rate.standard_error == pytest.approx(100 * math.sqrt(0.26 / 3 / 4))
    assert rate.low <= rate.value <= rate.high
    assert score.estimates["discrete_win_rate"].value == pytest.approx(100 * 2.5 / 4)
    counted = {"asked": 5, "judged": 4, "unparsed": 1, "n_total": 4}
    counted |= {"n_wins": 2, "n_wins_base": 1, "n_draws": 1}
    # lengths in code points: 3 + 3 + 5 + len("base Say {output_1}!") = 20 + 6, over 5
    assert score.counts == {**counted, "avg_length": 7}
    assert [item["preference"] for item in score.items] == pytest.approx([0.9, 0.4, None, 0.5, 1])
    assert score.items[4]["length"] == 6
    assert score.items[4]["baseline_length"] == len("base é")
    unparsed, small_sample, missing = score.notes
    assert small_sample.startswith("only 4 verdicts")
    assert unparsed == "1 of 5 verdicts could not be parsed and are excluded"
    assert missing.startswith("no length_controlled_win_rate: alpaca_eval/df_gamed.csv is missing")
    assert "harness assets pull alpaca_eval" in missing
    assert "--assets DIR" in missing
    assert set(score.estimates) == {"win_rate", "discrete_win_rate"}


def test_no_verdict_at_all_is_an_error(benchmark):
    ours = answers(*"abcde")
    unparsed = [Verdict(answer.prompt_id, None, "j") for answer in ours]
    with pytest.raises(CheckError, match="no verdict could be read"):
        score_of(benchmark, ours, benchmark.baseline_answers(), unparsed)


def test_missing_data_is_reported_with_the_command_that_downloads_it(tmp_path):
    with pytest.raises(AssetError, match="harness assets pull alpaca_eval"):
        AlpacaEval(sampling={}, assets=tmp_path).prompts()


@pytest.fixture
def _clear_cache():
    judge_prompt._read_template.cache_clear()
    yield
    judge_prompt._read_template.cache_clear()


@pytest.mark.usefixtures("_clear_cache")
def test_without_alpaca_eval_the_install_command_is_reported(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"pip install alpaca-eval==0\.6\.6"):
        judge_prompt.template()


@pytest.mark.usefixtures("_clear_cache")
def test_a_prompt_in_the_protocol_data_needs_no_package(monkeypatch, tmp_path):
    text = judge_prompt.template(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    (tmp_path / "alpaca_eval").mkdir()
    (tmp_path / "alpaca_eval" / judge_prompt.FILE).write_text(text)
    judge_prompt._read_template.cache_clear()
    assert judge_prompt.template(tmp_path) == text
    assert "<|im_start|>" in text


@pytest.mark.usefixtures("_clear_cache")
def test_another_prompt_is_refused(monkeypatch):
    monkeypatch.setattr(judge_prompt, "TEMPLATE_SHA256", "x")
    with pytest.raises(AssetError, match=r"not the prompt of alpaca-eval 0\.6\.6"):
        judge_prompt.template()


def test_in_both_orders_every_comparison_is_asked_twice_and_the_mean_counts(shared):
    bench = AlpacaEval(sampling={}, assets=shared / "assets", both_orders=True)
    theirs = bench.baseline_answers()[:2]
    ours = [Answer(answer.prompt_id, "mine") for answer in theirs]
    requests = bench.requests(ours, theirs)
    plain = bench.model_copy(update={"both_orders": False}).requests(ours, theirs)
    assert [request.id for request in requests[1::2]] == [
        f"{request.id}/swapped" for request in plain
    ]
    assert requests[::2] == plain
    for drawn, swapped in zip(requests[::2], requests[1::2], strict=True):
        assert drawn.messages[-1].content != swapped.messages[-1].content
        assert sorted(drawn.messages[-1].content) == sorted(swapped.messages[-1].content)
    # P(first preferred) is 0.9 as drawn and 0.3 the other way round: (0.9 + 0.7) / 2 = 0.8
    verdicts = [
        Verdict(request.id, ParsedVerdict(0.9 if i % 2 == 0 else 0.3), "j")
        for i, request in enumerate(requests)
    ]
    prompts = bench.prompts()[:2]
    graded = Graded("mine", "j", tuple(ours), tuple(theirs), tuple(verdicts), tuple(prompts))
    preferred = files.preferences(graded)
    for prompt in prompts:
        first = files.is_ours_first(prompt.text)
        assert preferred[prompt.id] == pytest.approx(0.8 if first else 0.2)
    unparsed = replace(
        graded, verdicts=(*verdicts[:1], replace(verdicts[1], parsed=None), *verdicts[2:])
    )
    assert files.preferences(unparsed)[prompts[0].id] is None
    assert any("both orders" in note for note in bench.score([graded])[0].notes)
