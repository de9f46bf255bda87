"""Arena-Hard v2.0: categories, dropped prompts and style control on invented answers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from harness.benchmarks.arena_hard import data, style
from harness.benchmarks.arena_hard import verdicts as rules
from harness.benchmarks.arena_hard.v2 import ArenaHardV2
from harness.errors import AssetError, CheckError
from harness.types import Answer, Graded, Reply, Verdict

COUNT = 150


@pytest.fixture(scope="module")
def bench(shared):
    return ArenaHardV2(sampling={}, assets=shared / "assets", scoring={"rounds": 100})


@pytest.fixture(scope="module")
def ids(bench):
    """The first questions of each category."""
    asked = bench.prompts()
    return {
        name: [p.id for p in asked if p.meta["category"] == name][:COUNT]
        for name in bench.categories
    }


def contestant(ids, label="me", longer=0, seed=0, answers=True):
    """Return a contestant whose longer answers win more often, in both games alike."""
    rng = np.random.default_rng(seed)
    ours, theirs, verdicts = [], [], []
    for name in (i for own in ids.values() for i in own):
        length = int(rng.integers(5, 60)) + longer
        ours.append(Answer(name, "word " * length + ("\n# Head" if rng.random() < 0.5 else "")))
        theirs.append(Answer(name, "word " * 30))
        wins = rng.random() < 1 / (1 + np.exp(-(length - 30) / 15))
        pair = ("B>A", "A>>B") if wins else ("A>B", "B>A")
        verdicts += [
            Verdict(name + game, rules.parse_label(label, rules.LABEL_SCORES_V2), "j")
            for game, label in zip(rules.GAME_SUFFIXES, pair, strict=True)
        ]
    sides = (tuple(ours), tuple(theirs)) if answers else ((), ())
    return Graded(label, "j", *sides, tuple(verdicts))


def test_the_questions_have_their_categories_baselines_and_prompts(bench):
    asked = bench.prompts()
    assert len(asked) == 750
    counts = {}
    for prompt in asked:
        key = (prompt.meta["category"], prompt.meta["baseline"])
        counts[key] = counts.get(key, 0) + 1
    assert counts == {
        ("hard_prompt", "o3-mini-2025-01-31"): 500,
        ("creative_writing", "gemini-2.0-flash-001"): 250,
    }
    chosen = [next(p for p in asked if p.meta["category"] == c) for c in bench.categories]
    answers = [Answer(p.id, "ours") for p in chosen]
    requests = bench.requests(answers, [Answer(p.id, "theirs") for p in chosen])
    systems = [r.messages[0].content for r in requests]
    assert systems[0] == systems[1] != systems[2] == systems[3]
    assert "generating your own answer" in systems[0]
    assert "generating your own answer" not in systems[2]
    first, second = (r.messages[1].content for r in requests[:2])
    assert first.index("theirs") < first.index("ours")
    assert second.index("ours") < second.index("theirs")
    assert requests[0].parameters == {"temperature": 0.0, "max_tokens": 16000}


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("[[A>B]] no, [[B>A]]", "B>A"),
        ("final [A>>B]", "A>>B"),
        ("[[a=b]]", "A=B"),
        ("[A>B] but [[B>>A]]", "B>>A"),
        ("[[A<<B]]", "A<<B"),
        ("[[A>>A]]", None),
        ("none", None),
    ],
)
def test_the_last_label_counts(bench, text, label):
    parsed = bench.parse([Reply(text, None, "stop", "j", 1, 1)])
    assert (parsed.label if parsed else None) == label


def test_a_prompt_with_an_unparsed_game_is_dropped_with_both_games(bench, ids):
    complete = contestant(ids, answers=False)
    verdicts = list(complete.verdicts)
    verdicts[0] = Verdict(verdicts[0].request_id, None, "j")
    complete_score = bench.score([complete])[0]
    (score,) = bench.score([Graded("me", "j", (), (), tuple(verdicts))])
    assert score.items[0]["weight"] == 0
    assert score.counts["judged"] == complete_score.counts["judged"] - 1
    assert f"1 of {2 * COUNT} prompts have an unparsed game" in score.notes[0]
    before = sum(item["weight"] for item in complete_score.items)
    assert sum(i["weight"] for i in score.items) == before - complete_score.items[0]["weight"]
    assert any("no style control: the answers of both sides" in n for n in score.notes)


def test_style_control_removes_the_gain_of_length(bench, ids):
    short, long = contestant(ids, "short"), contestant(ids, "long", longer=15, seed=1)
    scores = bench.score([short, long])
    raw = [s.estimates["hard_prompt_win_rate"].value for s in scores]
    held = [s.estimates["hard_prompt_style_controlled_win_rate"] for s in scores]
    assert raw[1] - raw[0] > 10
    assert abs(held[1].value - held[0].value) < 0.5 * (raw[1] - raw[0])
    for score in scores:
        assert set(score.estimates) == {
            f"{category}{kind}_win_rate"
            for category in ("hard_prompt", "creative_writing")
            for kind in ("", "_style_controlled")
        }
    assert held[0].low < held[0].value < held[0].high
    weights = scores[0].details["hard_prompt_style"]
    assert weights["length"] > 0
    assert weights == scores[1].details["hard_prompt_style"]


def test_a_single_contestant_is_controlled_and_prompts_have_contributions(bench, ids):
    short, long = contestant(ids, "short"), contestant(ids, "long", longer=15, seed=1)
    scores = [bench.score([submission])[0] for submission in (short, long)]
    raw = [s.estimates["hard_prompt_win_rate"].value for s in scores]
    key = "hard_prompt_style_controlled_win_rate"
    held = [s.estimates[key] for s in scores]
    assert abs(held[1].value - held[0].value) < 0.5 * (raw[1] - raw[0])
    for score, figure in zip(scores, held, strict=True):
        parts = [item[key] for item in score.items if key in item]
        assert len(parts) == COUNT  # of this category alone
        assert np.mean(parts) == pytest.approx(figure.value)
        error = np.std(parts, ddof=1) / np.sqrt(COUNT)
        assert error == pytest.approx(figure.standard_error, rel=0.2)  # of 100 resamples


@pytest.fixture(scope="module")
def own_and_upstream(bench, ids):
    """The scores of two contestants by the default rules and by upstream's, from 20 refits."""
    pair = [contestant(ids, "short"), contestant(ids, "long", longer=10, seed=1)]
    scoring = bench.scoring.model_copy(update={"compat": "upstream"})
    upstream = bench.model_copy(update={"scoring": scoring})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "UPSTREAM_ROUNDS", 20)
        return list(zip(bench.score(pair), upstream.score(pair), strict=True))


def write_as_upstream(folder, contestants, baselines=True):
    """Write judgments and answers as arena-hard-auto lays them out."""
    rows = {"question.jsonl": [{"uid": "x", "category": "hard_prompt", "prompt": "p"}]}
    for submission, category in contestants:
        base = data.BASELINES[category]
        rows |= {
            f"model_answer/{submission.label}.jsonl": answer_rows(submission.answers),
            f"model_judgment/gpt-4.1/{submission.label}.jsonl": judgment_rows(submission, category),
        }
        if baselines:
            rows[f"model_answer/{base}.jsonl"] = answer_rows(submission.baseline)
    for name, lines in rows.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def answer_rows(answers):
    return [
        {"uid": a.prompt_id, "messages": [{"role": "assistant", "content": {"answer": a.text}}]}
        for a in answers
    ]


def judgment_rows(submission, category):
    labels = {v.request_id: v.parsed.label for v in submission.verdicts}
    return [
        {
            **{"uid": a.prompt_id, "category": category, "judge": "gpt-4.1"},
            **{"model": submission.label, "baseline": data.BASELINES[category]},
            "games": [{"score": labels[a.prompt_id + game]} for game in rules.GAME_SUFFIXES],
        }
        for a in submission.answers
    ]


@pytest.mark.parametrize("part", ["", "model_judgment", "model_judgment/gpt-4.1/me.jsonl"])
def test_upstreams_directory_gives_a_style_controlled_win_rate(bench, ids, tmp_path, part):
    hard = {"hard_prompt": ids["hard_prompt"]}
    submission = contestant(hard, longer=15)
    folder = write_as_upstream(tmp_path, [(submission, "hard_prompt")])
    (loaded,) = bench.read_verdicts(folder / part)
    assert loaded.baseline_label == "o3-mini-2025-01-31"
    (score,), (expected,) = bench.score([loaded]), bench.score([submission])
    assert score.estimates == expected.estimates
    assert "hard_prompt_style_controlled_win_rate" in score.estimates


def test_both_categories_of_a_model_are_one_contestant(bench, ids, tmp_path):
    parts = [(contestant({name: ids[name]}), name) for name in bench.categories]
    folders = [write_as_upstream(tmp_path / name, [(part, name)]) for part, name in parts]
    for kind in ("model_judgment/gpt-4.1/me.jsonl", "model_answer/me.jsonl"):
        merged = "".join((folder / kind).read_text() for folder in folders)
        (tmp_path / "all" / kind).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / kind).write_text(merged)
    for (_, name), folder in zip(parts, folders, strict=True):
        base = f"model_answer/{data.BASELINES[name]}.jsonl"
        (tmp_path / "all" / base).write_text((folder / base).read_text())
    (loaded,) = bench.read_verdicts(tmp_path / "all")
    assert len(loaded.baseline) == len(loaded.answers) == 2 * COUNT
    (score,) = bench.score([loaded])
    assert set(score.estimates) == {
        f"{category}{kind}_win_rate"
        for category in bench.categories
        for kind in ("", "_style_controlled")
    }
    written = bench.files(loaded)["model_judgment/gpt-4.1/me.jsonl"].splitlines()
    baselines = {row["uid"]: row["baseline"] for row in map(json.loads, written)}
    assert all(baselines[i] == data.BASELINES[name] for name in bench.categories for i in ids[name])


def test_a_side_whose_answers_are_missing_is_reported(bench, ids, tmp_path):
    submission = contestant({"hard_prompt": ids["hard_prompt"]})
    folder = write_as_upstream(tmp_path, [(submission, "hard_prompt")], baselines=False)
    (score,) = bench.score(bench.read_verdicts(folder))
    assert any("those of o3-mini-2025-01-31 are not there" in note for note in score.notes)
    (folder / "model_answer/me.jsonl").unlink()
    (score,) = bench.score(bench.read_verdicts(folder))
    assert any("those of me and o3-mini-2025-01-31 are not" in note for note in score.notes)


def test_answers_to_some_prompts_only_are_reported(bench, ids):
    submission = contestant({"hard_prompt": ids["hard_prompt"]})
    (score,) = bench.score([replace(submission, answers=submission.answers[5:])])
    assert f"style control is over {COUNT - 5} of {COUNT} prompts" in score.notes[-1]


def test_the_default_may_lie_fifteen_points_from_upstreams(bench, ids, monkeypatch):
    monkeypatch.setattr(style, "UPSTREAM_ROUNDS", 10)
    submission = contestant({"hard_prompt": ids["hard_prompt"]}, longer=15, seed=1)
    scoring = bench.scoring.model_copy(update={"compat": "upstream", "rounds": 2})
    upstream = bench.model_copy(update={"scoring": scoring})
    (own,), (theirs,) = bench.score([submission]), upstream.score([submission])
    key = "hard_prompt_style_controlled_win_rate"
    # README: 83.3 raw; 70.4 at equal style; 86 at the model's own style, as upstream has it
    assert own.estimates["hard_prompt_win_rate"].value == pytest.approx(83.3, abs=0.05)
    assert own.estimates[key].value == pytest.approx(70.4, abs=0.05)
    assert theirs.estimates[key].value == pytest.approx(85.5, abs=1)


def test_upstreams_win_rates_have_no_contributions(own_and_upstream):
    for _, score in own_and_upstream:
        assert not any("hard_prompt_style_controlled_win_rate" in item for item in score.items)
        assert score.details["compat"] == "upstream"  # tables keep them apart by this


def test_upstreams_win_rates_lie_within_the_stated_tolerance(own_and_upstream):
    for own, theirs in own_and_upstream:
        raw, controlled = "hard_prompt_win_rate", "hard_prompt_style_controlled_win_rate"
        assert theirs.estimates[raw].value == pytest.approx(own.estimates[raw].value, abs=2)
        controlled_value = own.estimates[controlled].value
        assert theirs.estimates[controlled].value == pytest.approx(controlled_value, abs=3)
        assert theirs.estimates[raw].low < theirs.estimates[raw].value
        assert any("90 % intervals" in note for note in theirs.notes)


def test_a_contestant_without_parsed_games_is_an_error(bench):
    unparsed = tuple(Verdict(f"q{game}", None, "j") for game in rules.GAME_SUFFIXES)
    with pytest.raises(CheckError, match="no prompt with two parsed games"):
        bench.score([Graded("me", "j", (), (), unparsed)])


def test_missing_baseline_answers_are_reported(bench):
    with pytest.raises(AssetError, match=r"o3-mini-2025-01-31\.jsonl is missing.*assets pull"):
        bench.baseline_answers()


def test_zero_length_answers_have_a_style(bench, ids):
    submission = contestant(ids)
    empty = tuple(Answer(a.prompt_id, "") for a in submission.answers)
    (score,) = bench.score([Graded("me", "j", empty, empty, submission.verdicts)])
    estimate = score.estimates["hard_prompt_style_controlled_win_rate"]
    # no answer differs in style: the controlled win rate is the raw one
    assert estimate.value == pytest.approx(score.estimates["hard_prompt_win_rate"].value, abs=1e-6)


def test_markdown_is_counted_outside_code(shared):
    text = "# Head\n- one\n 2. two\n**bold** and __this__\n```\n# no\n- no\n```\n####### no\n* x"
    measured = style.measure_style(text, "o200k_base", shared / "assets")
    assert (measured.header, measured.list, measured.bold) == (1, 3, 2)


def test_special_tokens_in_an_answer_are_text(shared):
    count = style.count_tokens("<|endoftext|>", "cl100k_base", shared / "assets")
    assert count > 1


def test_text_in_braces_is_never_a_placeholder():
    template = "{QUESTION}|{ANSWER_A}|{ANSWER_B}"
    values = ("{ANSWER_A} {0.__class__}", "{ANSWER_B}", "{QUESTION}")
    assert data.fill_template(template, values) == "|".join(values)


@pytest.mark.parametrize("reason", ["length", "content_filter", "MAX_TOKENS", "SAFETY"])
def test_a_judgment_that_was_cut_off_or_filtered_is_unparsed(bench, reason):
    text = "At first [[B>A]]. But then"
    assert bench.parse([Reply(text, None, reason, "j", 1, 1)]) is None
    assert bench.parse([Reply(text, None, "stop", "j", 1, 1)]).label == "B>A"
