"""What fails after hours fails in the rehearsal, by name: the policy's part, on tiny policies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from harness.core import config
from harness.core.hub import load_tokenizer
from harness.errors import CheckError, PolicyError
from harness.training import records
from harness.training.rehearsal import policy as rehearsal
from harness.training.rehearsal.prompts import TrainingData
from harness.training.sft import build_word_tokenizer
from harness.training.sources import Pretrained
from harness.training.spec import TrainSpec
from harness.types import Message, Pair, Policy, Prompt
from tests.oracles import tiny

PROMPTS = [
    Prompt("a", (Message("user", "one two three"),)),
    Prompt("b", (Message("user", "two"), Message("assistant", "one"), Message("user", "three"))),
]


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> str:
    return tiny.saved("LlamaForCausalLM", tmp_path_factory.mktemp("llama"))


@pytest.fixture
def changed(llama, tmp_path) -> Path:
    """A copy of the policy, for a test that breaks it."""
    return Path(shutil.copytree(llama, tmp_path / "changed"))


def spec(path: str | Path, *overrides: str, **policy) -> TrainSpec:
    settings = ("max_length=64", *overrides)
    source = Pretrained(name="tiny", path=str(path), **policy)
    return config.construct(
        TrainSpec, {**config.load("train", "toy/inpo", settings), "policy": source}
    )


def rehearsed(method: TrainSpec, folder: Path, prompts=PROMPTS) -> dict:
    records.write_prompts(folder, prompts)
    inputs = {"start": method.policy.path, "prompts-1": str(folder)}
    return rehearsal.rehearse_policy(method, folder / "out", inputs, lambda count: None)


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("dtype=bfloat16",),
        ("optimiser.gradient_checkpointing=true",),
        ("optimiser.lora={rank: 2}",),
        ("optimiser.lora={rank: 2}", "dtype=bfloat16"),
    ],
)
def test_a_sound_policy_is_trained_saved_and_read_back(llama, tmp_path, overrides):
    report = rehearsed(spec(llama, *overrides), tmp_path)
    assert report["first_step_difference"] == 0
    assert report["saved_difference"] <= (0.5 if len(overrides) == 2 else 1e-4)
    assert report["gradient_norm"] > 0
    adapters = "lora" in str(overrides)
    assert (report["trained_parameters"] < report["parameters"]) == adapters
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_weight_that_is_not_finite_is_named(changed, tmp_path):
    weights = load_file(changed / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 5:7] = float("nan")
    save_file(weights, changed / "model.safetensors", {"format": "pt"})
    with pytest.raises(PolicyError, match=r"2 numbers of model\.layers\.1\.mlp\.up_proj\.weight"):
        rehearsed(spec(changed), tmp_path)


def test_a_tensor_that_lacks_is_never_filled_at_random(changed, tmp_path):
    weights = load_file(changed / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, changed / "model.safetensors", {"format": "pt"})
    with pytest.raises(PolicyError, match=r"lack 1 .*up_proj"):
        rehearsed(spec(changed), tmp_path)


def test_a_token_without_a_row_is_refused_where_it_is_used(llama, changed, tmp_path):
    words = build_word_tokenizer(tiny.WORDS)
    words.add_tokens(["<|turn|>"], special_tokens=True)
    words.save_pretrained(changed)
    rehearsed(spec(changed), tmp_path)  # nothing writes it
    words.chat_template = "<|turn|> " + words.chat_template
    words.save_pretrained(changed)
    load_tokenizer.__globals__["_load_tokenizer"].cache_clear()
    rows = len(load_tokenizer(Policy("", llama)))
    with pytest.raises(PolicyError, match=rf"'<\|turn\|>' \({rows}\).* {rows} embedding rows"):
        rehearsed(spec(changed), tmp_path)


def test_a_policy_whose_turns_nothing_ends_is_refused_with_the_setting(changed, tmp_path):
    words = build_word_tokenizer(tiny.WORDS)
    words.eos_token, words.chat_template = (
        None,
        "{% for m in messages %}{{ m.content }}{% endfor %}",
    )
    words.save_pretrained(changed)
    for name in ("config.json", "generation_config.json"):
        settings = json.loads((changed / name).read_text())
        (changed / name).write_text(json.dumps({**settings, "eos_token_id": None}))
    with pytest.raises(PolicyError, match=r"no token ends a turn .*policy\.end_tokens="):
        rehearsed(spec(changed), tmp_path)


def test_adapters_that_would_not_be_the_policy_are_refused_before_sampling(llama, tmp_path):
    with pytest.raises(PolicyError, match="the head"):
        rehearsed(spec(llama, "optimiser.lora={rank: 2, targets: [lm_head]}"), tmp_path)
    tied = tiny.saved("LlamaForCausalLM", tmp_path / "tied", tie_word_embeddings=True)
    with pytest.raises(PolicyError, match="shares its weights with the head"):
        rehearsed(spec(tied, "optimiser.lora={rank: 2, targets: [embed_tokens]}"), tmp_path)


def test_an_architecture_that_cannot_be_scored_is_refused(tmp_path):
    words = tiny.tokenizer()
    sizes = {**tiny.SIZES, "vocab_size": len(words)}
    transformers.StableLmForCausalLM(transformers.StableLmConfig(**sizes)).save_pretrained(
        tmp_path / "model"
    )
    words.save_pretrained(tmp_path / "model")
    with pytest.raises(PolicyError, match="StableLmForCausalLM is not supported"):
        rehearsed(spec(tmp_path / "model"), tmp_path)


def test_a_policy_that_is_not_saved_as_it_was_trained_is_refused(llama, tmp_path, monkeypatch):
    save = rehearsal.save_policy

    def save_another(model, *arguments):
        with torch.no_grad():
            model.get_output_embeddings().weight[5] += 1
        save(model, *arguments)

    monkeypatch.setattr(rehearsal, "save_policy", save_another)
    with pytest.raises(PolicyError, match="saved is not the one that was trained: .* nats"):
        rehearsed(spec(llama), tmp_path)


def test_a_tokenizer_that_changes_as_it_is_saved_is_refused(llama):
    own, other = tiny.tokenizer(), tiny.tokenizer(template="<s> ")
    rehearsal.check_saved_tokenizer(own, own, Policy("", llama))
    with pytest.raises(PolicyError, match="renders prompts otherwise once it is saved"):
        rehearsal.check_saved_tokenizer(own, other, Policy("", llama))


def test_a_policy_with_noise_in_training_is_refused():
    frozen = torch.tensor([[-20.0, -30.0]])
    rehearsal.check_first_step(frozen + 1e-5, frozen, 1e-4)
    for wrong in (frozen + 0.04, frozen * float("nan")):
        with pytest.raises(CheckError, match="dropout or noise"):
            rehearsal.check_first_step(wrong, frozen, 1e-4)


def parameter(gradient: list[float] | None) -> nn.Parameter:
    weights = nn.Parameter(torch.zeros(2))
    weights.grad = None if gradient is None else torch.tensor(gradient, dtype=torch.float32)
    return weights


def test_a_gradient_must_be_finite_and_reach_the_adapters(caplog):
    sound = {"a.lora_A": parameter([0, 0]), "a.lora_B": parameter([3, 4])}
    assert rehearsal.check_gradient(sound, adapters=True) == 5
    for gradient in ([0, 0], None):
        silent = {**sound, "model.b.lora_B": parameter(gradient)}
        with pytest.raises(CheckError, match=r"no gradient reaches the adapters b\.lora_B:"):
            rehearsal.check_gradient(silent, adapters=True)
    wrong = {**sound, "w": parameter([0, float("nan")])}
    with pytest.raises(CheckError, match="the gradient of w is not finite"):
        rehearsal.check_gradient(wrong, adapters=False)
    with pytest.raises(CheckError, match="would change nothing"):
        rehearsal.check_gradient({"w": parameter(None)}, adapters=False)
    rehearsal.check_gradient({"u": parameter([1, 0]), "w": parameter(None)}, adapters=False)
    assert "no gradient reaches w: they stay as they are" in caplog.text


def test_a_step_moves_the_loss_by_a_nat_and_no_weight_far():
    weights = nn.Parameter(torch.full((100,), 10.0))  # of norm 100
    weights.grad = torch.full((100,), 0.5)  # of norm 5
    rehearsal.descend([weights], 5.0)
    assert weights.tolist() == pytest.approx([10 - 0.5 / 25] * 100)  # 1 nat: 0.2 along the gradient
    weights.grad = torch.full((100,), 1e-4)  # of norm 1e-3: a nat would be 1,000 far
    before = weights.detach().clone()
    rehearsal.descend([weights], 1e-3)
    assert float((before - weights.detach()).norm()) == pytest.approx(
        0.01 * float(before.norm()), rel=1e-3
    )


def test_what_the_models_own_code_raises_names_the_policy():
    with (
        pytest.raises(PolicyError, match="folder cannot be trained: .* AttributeError: no layers"),
        rehearsal.explained(Policy("", "folder")),
    ):
        raise AttributeError("no layers\nand more")


@pytest.mark.parametrize(("words", "length"), [("one", 64), ("one " * 100, 64), ("one two", 4)])
def test_made_up_pairs_differ_and_fit_the_context(llama, words, length):
    prompt = Prompt("a", (Message("user", words.strip()),))
    method = spec(llama, f"max_length={length}")
    (pair,) = rehearsal.made_up_pairs(
        method, method.policy.with_weights(llama), TrainingData([prompt, prompt], [])
    )
    assert pair.chosen_ids != pair.rejected_ids
    assert pair.chosen_ids[-1] == pair.rejected_ids[-1]
    assert len(pair.prompt_ids) + len(pair.chosen_ids) <= length


def test_a_data_sets_pairs_are_rehearsed_where_there_are_no_prompts(llama, tmp_path):
    pairs = [Pair("a", (5, 6, 7), (8, 4), (9, 4), 1.0)]
    records.write_pairs(tmp_path, pairs)
    method = spec(llama)
    inputs = {"start": llama, "pairs-1": str(tmp_path)}
    report = rehearsal.rehearse_policy(method, tmp_path / "out", inputs, lambda count: None)
    assert report["saved_difference"] <= 1e-4
    tokenizer, data = load_tokenizer(Policy("", llama)), TrainingData([], pairs)
    assert data.few_prompts(tokenizer, 4) == [(5, 6, 7)]
    assert list(data.rows(tokenizer)) == [(5, 6, 7), (8, 4), (9, 4)]


def test_on_gpus_the_launchers_processes_rehearse_together(llama, tmp_path):
    class Launcher:
        shard_size = 8
        started = 0

        def processes(self):
            return 4

        def map_shards(self, job, advance):
            raise AssertionError

        def run_group(self, job, processes):
            self.started = processes
            job.run(job.payload)

    launcher = Launcher()
    method = spec(llama).model_copy(update={"launcher": launcher})
    assert rehearsed(method, tmp_path)["saved_difference"] == 0
    assert launcher.started == 4
