"""The estimated cost of a method, against arithmetic by hand."""

from __future__ import annotations

import json

import pytest

from harness.core import config
from harness.core.hardware import ModelShape
from harness.errors import PolicyError
from harness.training.estimate import (
    GPU,
    activation_bytes,
    check_fit,
    estimate_training,
    flops_per_token,
    state_bytes,
)
from harness.training.lora import Lora
from harness.training.optimisers import OptimiserSettings
from harness.training.sft import initialize_model
from harness.training.spec import TrainSpec
from tests.conftest import tiny

H100 = config.build(config.load("gpu", "h100"))
GPUS = config.names("gpu")
SMALL = ModelShape(
    layers=2, hidden=4, intermediate=8, heads=2, key_value_heads=1, vocabulary=10, head_size=2
)


def spec(name: str, *overrides: str) -> TrainSpec:
    return config.construct(TrainSpec, config.load("train", name, overrides))


def test_a_shape_counts_every_parameter():
    recipe = tiny()
    assert recipe.sizes().parameters == sum(
        p.numel() for p in initialize_model(recipe).parameters()
    )


@pytest.mark.parametrize(
    ("policy", "parameters"),
    [("llama3-sft", 8_030_261_248), ("gemma-2-9b-it", 9.24e9)],
)
def test_known_models_have_their_known_sizes(policy, parameters):
    parameter_count = config.build(config.load("policy", policy)).sizes().parameters
    assert parameter_count == pytest.approx(parameters, rel=1e-3)


def test_inpo_by_hand():
    cost = estimate_training(spec("inpo"), H100, 8)
    generate, compare, anchor, optimise = cost.stages
    # 3 × 20,000 prompts × 8 responses × 400 tokens; 2 operations a parameter and token
    assert (generate.count, generate.tokens) == (480_000, 192_000_000)
    flops = 2 * 8_030_261_248 * 192e6
    assert generate.hours == pytest.approx(flops / (0.15 * 989e12 * 8) / 3600)
    # 11 comparisons a prompt, each in two orders of 200 + 2 × 400 tokens
    assert (compare.count, compare.tokens) == (660_000, 1_320_000_000)
    # a pair a prompt of 1,000 tokens, two anchors, two epochs, 3 × 2 operations in training
    assert (anchor.count, anchor.tokens) == (60_000, 120_000_000)
    assert optimise.hours == pytest.approx(6 * 8_030_261_248 * 120e6 / (0.4 * 989e12 * 8) / 3600)
    assert cost.hours == pytest.approx(sum(stage.hours for stage in cost.stages))
    # 16 bytes × 8.03 billion parameters / 8 GPUs
    assert cost.state_gb == pytest.approx(16.06, abs=0.01)
    assert cost.comparisons_per_prompt == 11


def test_dollars_are_hours_by_the_price_of_all_gpus():
    costs = [
        estimate_training(spec("inpo"), H100.model_copy(update={"dollars": d}), 8)
        for d in (2.5, None)
    ]
    assert costs[0].dollars == pytest.approx(costs[0].hours * 8 * 2.5)
    assert costs[1].dollars is None


def test_a_scalar_reward_reads_every_response_once():
    compare = estimate_training(spec("inpo-reward-model"), H100, 8).stages[1]
    # all 28 comparisons of 8 responses, from 8 passes of 600 tokens
    assert compare.count == 3 * 20_000 * 28
    assert compare.tokens == 3 * 20_000 * 8 * 600


def test_more_fits_and_more_pairs_cost_more():
    inpo, onpo = (estimate_training(spec(name), H100, 8).stages for name in ("inpo", "onpo"))
    assert onpo[3].tokens == 2 * inpo[3].tokens
    assert onpo[2].tokens == inpo[2].tokens  # two fits with one anchor each; one with two
    dno = estimate_training(spec("dno"), H100, 8)
    assert dno.stages[3].count == 3 * 20_000 * 10


def test_a_micro_batch_by_hand():
    shape = SMALL
    # attention 2 × 4 × 2 × 3 = 48, feed-forward 3 × 4 × 8 = 96, norms 8: 152
    assert shape.layer_parameters == 152
    assert shape.parameters == 2 * 40 + 2 * 152 + 4
    # 2 bytes × 300 tokens × 2 layers × (32 + 32), 2 × (304 + 80), 2 × 4 × 512 × 10
    small = ("optimiser.micro_tokens=300", "max_length=100")
    assert activation_bytes(shape, spec("inpo", *small)) == 76_800 + 768 + 40_960
    # each layer's input, and one layer whole: 2 × 300 × (2 × 4 + 64)
    again = (*small, "optimiser.gradient_checkpointing=true")
    assert activation_bytes(shape, spec("inpo", *again)) == 43_200 + 768 + 40_960
    # a pair may be longer than a micro-batch: 2 × 200 tokens of it
    longer = activation_bytes(shape, spec("inpo", "optimiser.micro_tokens=300", "max_length=200"))
    assert longer == 102_400 + 768 + 40_960


@pytest.mark.parametrize(
    ("algorithm", "each"),
    # master and gradient of 4 bytes each; moments: 2 × 4, 2 × (1 + 4 / 256), 1 × 4
    [("adamw", 16), ("adamw-8bit", 10.03125), ("rmsprop", 12)],
)
def test_what_an_algorithm_holds_by_hand(algorithm, each):
    settings = OptimiserSettings(algorithm=algorithm, learning_rate=1, batch=1)
    assert state_bytes(SMALL, settings) == each * 388
    state_gb = estimate_training(spec("inpo", f"optimiser.algorithm={algorithm}"), H100, 8).state_gb
    assert state_gb == pytest.approx(each * 8_030_261_248 / 8 / 1e9)


def test_adapters_hold_frozen_weights_once_by_hand():
    # rank 2 × (q 4 + 4, k and v 4 + 2, o 4 + 4, three of 4 + 8) = 2 × 64 a layer
    for algorithm, each in (("adamw", 16), ("rmsprop", 12)):
        settings = OptimiserSettings(
            algorithm=algorithm, learning_rate=1, batch=1, lora=Lora(rank=2)
        )
        assert state_bytes(SMALL, settings) == 4 * 388 + each * 2 * 128
    # Llama-3-8B, rank 16: 32 layers × 16 × 81,920 parameters in adapters
    state_gb = estimate_training(spec("inpo", "optimiser.lora={rank: 16}"), H100, 8).state_gb
    assert state_gb == pytest.approx((4 * 8_030_261_248 + 16 * 41_943_040) / 8 / 1e9)


def test_frozen_weights_take_no_gradient_of_their_own_by_hand():
    def operations(**changes) -> int:
        return flops_per_token(SMALL, OptimiserSettings(learning_rate=1, batch=1, **changes))

    assert operations() == 6 * 388
    assert operations(lora=Lora(rank=2)) == 4 * 388 + 6 * 256
    assert operations(lora=Lora(rank=2), gradient_checkpointing=True) == 6 * 388 + 8 * 256
    lora, plain = (
        estimate_training(spec("inpo", *changes), H100, 8).stages
        for changes in (("optimiser.lora={rank: 16}",), ())
    )
    # (4 × 8.03 + 6 × 0.042) / (6 × 8.03) billion
    assert lora[3].hours / plain[3].hours == pytest.approx(0.6719, abs=1e-4)
    assert lora[:3] == plain[:3]


def test_computing_again_takes_a_third_longer():
    plain, again = (
        estimate_training(spec("inpo", f"optimiser.gradient_checkpointing={value}"), H100, 8)
        .stages[3]
        .hours
        for value in ("false", "true")
    )
    assert again == pytest.approx(plain * 8 / 6)


def test_what_is_not_known_is_not_made_up():
    assert estimate_training(spec("inpo", "prompts.count=null"), H100, 8) is None
    toy = estimate_training(spec("toy/inpo"), H100, 8)
    assert toy.stages[1].hours is None
    assert toy.stages[1].tokens == 0


@pytest.mark.parametrize("name", GPUS)
def test_every_gpu_builds(name):
    assert isinstance(config.build(config.load("gpu", name)), GPU)


@pytest.mark.parametrize("name", [n for n in config.names("train") if "/" not in n])
def test_every_recipe_has_an_estimate(name):
    assert estimate_training(spec(name), H100, 8).hours > 0


def test_the_sizes_are_those_of_the_policys_own_configuration(tmp_path):
    # GPT-2's names of sizes; no key of the feed-forward layer: 4 × hidden
    names = {"n_embd": 8, "n_layer": 3, "n_head": 2, "vocab_size": 11}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", **names}))
    policy = spec("inpo", f"policy.path={tmp_path}").policy
    assert policy.sizes() == ModelShape(
        layers=3, hidden=8, intermediate=32, heads=2, key_value_heads=2, vocabulary=11, tied=True
    )


def test_the_prompts_are_those_of_the_file(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": c * 40}) + "\n" for c in "abbc"))
    source = f"{{use: 'harness.training.sources:FilePrompts', path: {path}, count: 20000}}"
    cost = estimate_training(spec("inpo", f"prompts={source}"), H100, 8)
    # 3 different prompts of 40 characters, 10 tokens; 3 iterations of 8 responses
    assert cost.stages[0].count == 3 * 3 * 8
    assert cost.stages[2].tokens == 3 * 3 * (10 + 2 * 400) * 2
    assert cost.assumptions[0].startswith("10 tokens a prompt")


def test_what_does_not_fit_is_said_with_the_settings_that_would():
    check_fit(spec("inpo"), H100, 8)
    with pytest.raises(PolicyError, match="does not fit.*--gpus 8") as caught:
        check_fit(spec("inpo"), H100, 1)
    assert caught.value.exit_code == 4
    # offloaded, an H100 holds the activations alone: 50.7 GB
    assert "with --set optimiser.offload=true or" in str(caught.value)
    assert "micro_tokens=4096 --set 'optimiser.lora={rank: 16}'" in str(caught.value)


def test_offloading_disk_and_downloads_are_counted_by_hand():
    cost = estimate_training(spec("inpo", "optimiser.offload=true"), H100, 8)
    assert cost.state_gb == 0
    assert cost.host_gb == pytest.approx(16 * 8.030261248)
    # three policies of 4 bytes a parameter, two checkpoints of 16
    assert cost.disk_gb == pytest.approx((3 * 4 + 2 * 16) * 8.030261248)
    # the policy and an oracle of nearly its size, 2 bytes a parameter
    assert cost.download_gb == pytest.approx(2 * 2 * 8.030261248, rel=0.01)


def test_pairs_of_a_data_set_cost_no_samples_and_no_comparisons(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"q {n}", "chosen": "yes", "rejected": "no"} for n in range(10)]
    path.write_text("\n".join(map(json.dumps, rows)))
    for overrides, generate, compare, optimise in (
        # alone; before two iterations of 20 prompts; against 2 samples; with 2 samples
        ((), 0, 0, 10),
        (("iterations=3", "pairs.iterations=1", "prompts.count=20", "samples=4"), 160, 200, 50),
        (("pairs.mode=winners", "samples=2"), 20, 0, 20),
        (("pairs.mode=candidates", "samples=2"), 20, 50, 10),
    ):
        method = config.construct(
            TrainSpec, config.load("train", "dpo", (f"pairs.path={path}", *overrides))
        )
        stages = {stage.stage: stage.count for stage in estimate_training(method, H100, 8).stages}
        assert (stages["generate"], stages["compare"]) == (generate, compare)
        assert stages["anchor"] == stages["optimise"] == optimise
