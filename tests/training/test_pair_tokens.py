"""Pairs of a data set as token ids, and the schedules that train on them or beside them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from harness.api.run_export import export_run
from harness.core import config
from harness.core.hub import load_tokenizer, render_conversation
from harness.core.workspace import Workspace
from harness.errors import CheckError, ConfigError, InputError
from harness.toy.world import ToyPairs
from harness.training import pair_tokens, records, schedule
from harness.training.pair_tokens import PairTokeniser
from harness.training.preference_rows import LeftOutError, PreferenceRow
from harness.training.spec import TrainSpec
from harness.types import Completion, Message, Policy, Prompt
from tests.conftest import tiny

PROMPT = Prompt("p", (Message("user", "sort d b"),))
CHATML = (
    "{% for m in messages %}<s>{{ m['role'] }} {{ m['content'] }} </s> \n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant {% endif %}"
)
SMALL = (
    "samples=2",
    "iterations=1",
    "optimiser.epochs=1",
    "optimiser.batch=6",
    "prompts.count=6",
)


def row(chosen: str = "b d . warm", rejected: str = "d b . bold", **changes: Any) -> PreferenceRow:
    return PreferenceRow(PROMPT, chosen, rejected, **changes)


@pytest.fixture(scope="module")
def tokeniser(tiny_policy: str) -> PairTokeniser:
    return PairTokeniser.of(Policy("tiny", tiny_policy))


def test_a_pair_is_what_would_be_sampled(tokeniser):
    pair = tokeniser.tokenise(row(probability=0.8, scores=(2.0, 1.0)))
    decode = tokeniser.tokenizer.decode
    assert decode(pair.chosen_ids[:-1]).strip() == "b d . warm"
    assert decode(pair.rejected_ids[:-1]).strip() == "d b . bold"
    assert pair.chosen_ids[-1] == pair.rejected_ids[-1] == tokeniser.tokenizer.eos_token_id
    assert (pair.probability, pair.rewards) == (0.8, (2.0, 1.0))
    rendered = render_conversation(tokeniser.tokenizer, PROMPT.messages)
    assert pair.prompt_ids == rendered.token_ids


def with_template(policy: str, template: str) -> PairTokeniser:
    tokenizer = copy.deepcopy(load_tokenizer(Policy("tiny", policy)))
    tokenizer.chat_template = template
    return PairTokeniser(tokenizer, (tokenizer.eos_token_id,), tokenizer.eos_token_id)


@pytest.mark.parametrize(
    "template",
    [
        # what follows the end of a turn, and a turn without an end, are the template's own affair
        "{% for m in messages %}{{ m['content'] }} {{ eos_token }} . {% endfor %}",
        "{% for m in messages %}{{ m['content'] }} {% endfor %}",
        # a prompt that is not the beginning of the whole conversation
        "{% for m in messages %}{{ m['content'] }} {% endfor %}"
        "{% if add_generation_prompt %} thus thus{% endif %}",
    ],
)
def test_a_response_ends_with_its_turn_whatever_the_template_adds(tiny_policy, template):
    tokeniser = with_template(tiny_policy, template)
    if " . {%" in template:
        with pytest.raises(LeftOutError, match="an end of turn inside a response"):
            tokeniser.tokenise(row())
        return
    pair = tokeniser.tokenise(row())
    assert tokeniser.tokenizer.decode(pair.chosen_ids[:-1]).strip() == "b d . warm"
    assert pair.chosen_ids[-1] == tokeniser.tokenizer.eos_token_id
    assert pair.chosen_ids.count(tokeniser.tokenizer.eos_token_id) == 1


def test_a_response_that_holds_an_end_of_turn_is_left_out(tokeniser):
    end = tokeniser.tokenizer.eos_token
    with pytest.raises(LeftOutError, match="an end of turn inside a response"):
        tokeniser.tokenise(row(f"b d {end} . warm"))


def test_a_prompt_that_the_template_refuses_is_left_out(tiny_policy):
    with pytest.raises(LeftOutError, match="not in the chat template"):
        with_template(tiny_policy, "{{ raise_exception('no') }}").tokenise(row())


def spec(name: str, *overrides: str) -> TrainSpec:
    data = config.load("train", name, (*SMALL, *overrides))
    return config.construct(TrainSpec, {**data, "policy": tiny()})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, ToyPairs(count=24).rows())))
    return path


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("pairs"))


def stages(method: TrainSpec, workspace: Workspace) -> dict[str, str]:
    return {stage.name: str(path) for stage, path in schedule.plan(method, workspace)}


@pytest.mark.parametrize("name", ["toy/dpo", "toy/simpo"])
def test_a_path_is_all_that_offline_training_needs(name, workspace, data):
    method = spec(name, f"pairs.path={data}")
    run = schedule.train(method, workspace, f"offline {name}")
    paths = stages(method, workspace)
    assert set(paths) == {"fine-tune", "read-pairs", "anchor", "optimise"}
    assert run.complete
    assert len(records.read_pairs(paths["read-pairs"])) == 24
    assert len(records.read_prompts(paths["read-pairs"])) == len(
        {row["prompt"] for row in ToyPairs(count=24).rows()}
    )


def test_the_first_iteration_has_the_data_sets_pairs_and_later_ones_own_samples(workspace, data):
    method = spec("toy/inpo", "iterations=2", f"pairs.path={data}", "pairs.iterations=1")
    schedule.train(method, workspace, "then own samples")
    planned = [(stage.name, stage.label) for stage, _ in schedule.plan(method, workspace)]
    assert [label for name, label in planned if name == "read-pairs"] == [
        "INPO · iteration 1 · read-pairs"
    ]
    assert [label for name, label in planned if name in ("generate", "compare", "pair")] == [
        f"INPO · iteration 2 · {name}" for name in ("generate", "compare", "pair")
    ]


def test_a_data_sets_responses_beat_the_policys_samples(workspace, data):
    method = spec("toy/iterative-dpo-previous", f"pairs.path={data}", "pairs.mode=winners")
    schedule.train(method, workspace, "winners")
    paths = stages(method, workspace)
    assert "compare" not in paths  # no oracle is asked
    winners = records.read_completions(paths["read-responses"], name=records.RESPONSES)
    sampled = records.read_completions(paths["generate"])
    pairs = records.read_pairs(paths["pair"])
    assert pairs
    for pair in pairs:
        assert pair.chosen_ids == winners[pair.prompt_id][0].token_ids
        assert pair.rejected_ids in {c.token_ids for c in sampled[pair.prompt_id]}


def test_a_data_sets_responses_are_compared_with_the_policys_samples(workspace, data):
    pairing = "pairing={use: 'harness.training.pairing:AllPairs'}"
    overrides = (f"pairs.path={data}", "pairs.mode=candidates", "samples=1", pairing)
    method = spec("toy/iterative-dpo", *overrides)
    schedule.train(method, workspace, "candidates")
    paths = stages(method, workspace)
    matrices = records.read_comparisons(paths["compare"])
    # one sample, the chosen and the rejected response: three comparisons
    assert {match for matrix in matrices.values() for match in matrix} <= {(0, 1), (0, 2), (1, 2)}
    by_row = {row["prompt"]: row["probability"] for row in ToyPairs(count=24).rows()}
    prompts = {p.id: p.text for p in records.read_prompts(paths["read-responses"])}
    for key, matrix in matrices.items():
        assert matrix[1, 2] == pytest.approx(by_row[prompts[key]])
    chosen_only = spec("toy/iterative-dpo", *overrides, "pairs.responses=chosen")
    assert chosen_only.players(1) == 2
    compare = next(s for s, _ in schedule.plan(chosen_only, workspace) if s.name == "compare")
    assert compare.size.endswith("× 1 comparisons")


def test_a_run_that_is_exported_is_pairs_for_another(workspace, data, tmp_path):
    method = spec("toy/dpo", f"pairs.path={data}")
    schedule.train(method, workspace, "to-export")
    export = export_run("to-export", tmp_path / "out", workspace=workspace)
    again = spec("toy/dpo", f"pairs.path={export.pairs[0]}")
    schedule.train(again, workspace, "exported-pairs")
    first, second = (
        records.read_pairs(stages(method, workspace)["read-pairs"]) for method in (method, again)
    )
    for before, after in zip(first, second, strict=True):
        assert (before.prompt_ids, before.chosen_ids) == (after.prompt_ids, after.chosen_ids)
        assert before.rejected_ids == after.rejected_ids


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("pairs.pth=x",), "unknown key 'pairs.pth'"),
        (("pairs={path: x, mode: offline}",), "pairs.mode"),
        (("pairs={path: x, mode: candidates, responses: chosen}", "samples=0"), "samples"),
        (("samples=1",), "a pair needs two responses"),
        (("pairs={path: x}", "head_to_head_prompts=2"), "head_to_head_prompts"),
        (
            ("pairs={path: x}", "objective={use: 'baselines.sppo:SPPO', eta: 5}"),
            "no pairs of a data set but as candidates",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_read(overrides, message):
    with pytest.raises((ConfigError, InputError), match=message):
        spec("toy/inpo", *overrides)


def test_pairs_that_are_all_too_long_end_the_run_in_a_line(workspace, data):
    with pytest.raises(CheckError, match="of 24 rows too long: 24.*max_length=3"):
        schedule.train(spec("toy/dpo", f"pairs.path={data}", "max_length=3"), workspace, "long")


def test_a_setting_without_a_file_says_how_to_name_it():
    with pytest.raises(ConfigError, match=r"add --set pairs.path=FILE, or a hub id"):
        pair_tokens.selected(spec("toy/dpo", "pairs.rows=null"), 1)


def test_responses_of_a_data_set_follow_the_samples_by_index(tmp_path):
    records.write_responses(tmp_path, [Completion("p", 2, "t", (1,), (2,), "stop", 0)])
    assert records.has_responses(str(tmp_path))
    assert records.read_completions(str(tmp_path), name=records.RESPONSES)["p"][0].index == 2
