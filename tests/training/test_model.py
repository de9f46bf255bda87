"""Adapters, checkpointed layers, compiled layers: what changes, and what must not."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
import transformers

from harness.core.hardware import ModelShape
from harness.core.hub import load_model, uninitialized_model
from harness.errors import PolicyError
from harness.scoring import packing
from harness.scoring.scorer import Scorer, round_weights
from harness.training.distributed import full_tensor, process_group
from harness.training.lora import Lora, adapter_parameters
from harness.training.model import TrainingModel
from harness.training.optimisers import OptimiserSettings
from harness.types import Policy
from tests.scoring.test_scorer import FAMILIES, model_of

ROWS = [((1, 2, 3), ((4, 5, 6, 7), (8, 9))), ((3, 1), ((2,), (5, 5, 5)))]


SMALL = {
    **{"vocab_size": 20, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": 0},
}


def model(**changes) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=0,
        **changes,
    )
    return transformers.LlamaForCausalLM(config)


def training_model(**settings) -> TrainingModel:
    return TrainingModel(model(), OptimiserSettings(learning_rate=0.1, batch=1, **settings))


def scored(model_in_training: TrainingModel, dtype: str = "float32") -> torch.Tensor:
    return model_in_training.scorer(dtype)(packing.pack(ROWS))


def gradient(model_in_training: TrainingModel, dtype: str = "float32") -> torch.Tensor:
    with process_group() if dtype != "float32" else nullcontext():
        (scored(model_in_training, dtype) * torch.tensor([1.0, -1.0, 1.0, -1.0])).sum().backward()
        trained = (p for p in model_in_training.model.parameters() if p.requires_grad)
        return torch.cat([full_tensor(p.grad).flatten() for p in trained])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_checkpointed_layers_give_the_same_gradient(dtype):
    plain = gradient(training_model(), dtype)
    again = gradient(training_model(gradient_checkpointing=True), dtype)
    assert torch.equal(plain, again)


def test_masters_and_their_gradients_stay_float32_in_bfloat16():
    model_in_training = training_model()
    slopes = gradient(model_in_training, "bfloat16")
    assert slopes.dtype == torch.float32
    exact = gradient(training_model())
    assert 0 < float((slopes - exact).norm() / exact.norm()) < 0.05


def test_dropout_is_never_applied():
    config = {"attention_dropout": 0.5}
    model_in_training = TrainingModel(
        model(**config), OptimiserSettings(learning_rate=0.1, batch=1)
    )
    assert torch.equal(scored(model_in_training), scored(training_model()))


def stepped(model_in_training: TrainingModel) -> torch.Tensor:
    optimiser = torch.optim.SGD(
        [p for p in model_in_training.model.parameters() if p.requires_grad], 0.5
    )
    for _ in range(3):
        scored(model_in_training)[0].neg().backward()
        optimiser.step()
        optimiser.zero_grad()
    return scored(model_in_training).detach()


def test_adapters_off_are_the_reference_and_merged_are_the_policy():
    pytest.importorskip("peft")
    reference = scored(training_model()).detach()
    model_in_training = training_model(lora=Lora(rank=2), gradient_checkpointing=True)
    assert torch.equal(scored(model_in_training), reference)  # B = 0 at first
    moved = stepped(model_in_training)
    assert float((moved - reference).abs().max()) > 0.01
    with model_in_training.adapters.disable_adapter():
        assert torch.equal(scored(model_in_training), reference)
    merged = model_in_training.full_model()
    assert not any("lora" in name for name, _ in merged.named_parameters())
    plain = TrainingModel(merged, OptimiserSettings(learning_rate=0.1, batch=1))
    torch.testing.assert_close(scored(plain).detach(), moved, atol=1e-4, rtol=0)


def test_adapters_train_a_few_weights_only():
    pytest.importorskip("peft")
    model_in_training = training_model(lora=Lora(rank=2, targets=("q_proj", "v_proj")))
    trained = {n for n, p in model_in_training.model.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    # 2 layers × 2 projections × (A: 2 × 16, B: 16 × 2)
    assert (
        sum(p.numel() for p in model_in_training.model.parameters() if p.requires_grad)
        == 2 * 2 * 64
    )


@pytest.mark.parametrize(
    "targets",
    [
        "all-linear",
        r".*\.1\.mlp\..*_proj",
        ("q_proj", "down_proj"),
        ("self_attn.k_proj", "embed_tokens"),
    ],
)
def test_adapters_are_as_large_as_a_plan_says(targets):
    pytest.importorskip("peft")
    lora = Lora(rank=3, targets=targets)
    shape = ModelShape(
        layers=2, hidden=16, intermediate=24, heads=2, key_value_heads=2, vocabulary=20
    )
    trained = [p for p in training_model(lora=lora).model.parameters() if p.requires_grad]
    assert adapter_parameters(shape, lora) == sum(p.numel() for p in trained)


@pytest.mark.parametrize(
    ("tied", "targets", "message"),
    [
        (False, ("q_proj", "lm_head"), "adapters on lm_head, the head"),
        (True, ("q_proj", "embed_tokens"), "embed_tokens, which shares its weights with the head"),
        (True, r".*lm_head", "adapters on lm_head"),
        (False, ("query",), "no such layer; its layers are .*q_proj"),
    ],
)
def test_adapters_that_would_not_be_saved_as_trained_are_refused(tied, targets, message):
    settings = OptimiserSettings(learning_rate=0.1, batch=1, lora=Lora(rank=2, targets=targets))
    with pytest.raises(PolicyError, match=message):
        TrainingModel(model(tie_word_embeddings=tied), settings)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_dropout_by_function_is_never_applied(checkpointing):
    torch.manual_seed(0)
    config = transformers.OPTConfig(**OPT, dropout=0.5, attention_dropout=0.5)
    settings = OptimiserSettings(learning_rate=0.1, batch=1, gradient_checkpointing=checkpointing)
    opt = transformers.OPTForCausalLM(config).eval()
    expected = Scorer(copy.deepcopy(opt))(packing.pack(ROWS))
    in_training = TrainingModel(opt, settings)
    assert torch.equal(scored(in_training), expected)
    assert in_training.full_model().config.dropout == 0.5


OPT = {"vocab_size": 20, "hidden_size": 16, "ffn_dim": 24, "num_hidden_layers": 2}
OPT |= {"num_attention_heads": 2, "word_embed_proj_dim": 16, "max_position_embeddings": 32}
ROUNDED = {
    "opt": transformers.OPTConfig(**OPT),
    "gpt2": transformers.GPT2Config(vocab_size=20, n_embd=16, n_layer=2, n_head=2),
    "olmo2": transformers.Olmo2Config(**SMALL, rope_theta=500000.0),
    "granite": transformers.GraniteConfig(**SMALL, logits_scaling=4.0),
    "cohere": transformers.CohereConfig(**SMALL, logit_scale=0.25),
}


@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module")  # OPT's layers return views
@pytest.mark.parametrize("family", ROUNDED)
def test_the_policy_in_training_is_the_frozen_one_in_bfloat16(family):
    torch.manual_seed(0)
    live = transformers.AutoModelForCausalLM.from_config(ROUNDED[family]).eval()
    with torch.no_grad():
        for parameter in live.parameters():
            parameter.mul_(3)
    frozen = Scorer(round_weights(copy.deepcopy(live), "bfloat16"))(packing.pack(ROWS))
    with process_group():
        settings = OptimiserSettings(learning_rate=0.1, batch=1)
        assert torch.equal(scored(TrainingModel(live, settings), "bfloat16"), frozen)


@pytest.mark.filterwarnings("ignore")  # the compiler stumbles over its own where they are errors
def test_compiled_layers_give_the_same_losses_and_gradients():
    plain, compiled = training_model(), training_model(compile=True)
    torch.testing.assert_close(scored(compiled), scored(plain), atol=1e-4, rtol=0)
    assert all(layer._compiled_call_impl for layer in compiled.model.model.layers)
    exact = gradient(plain)
    assert float((gradient(compiled) - exact).norm() / exact.norm()) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_a_hollow_model_has_the_shapes_ties_and_buffers_of_the_one_that_is_read(family, tmp_path):
    model_of(family).save_pretrained(tmp_path)
    policy = Policy("tiny", str(tmp_path))
    loaded, hollow = load_model(policy, torch.float32, "cpu"), uninitialized_model(policy)
    assert {n: p.shape for n, p in loaded.named_parameters()} == {
        n: p.shape
        for n, p in hollow.named_parameters()  # tied ones are named once
    }
    assert {p.dtype for p in hollow.parameters()} == {torch.float32}
    buffers = dict(loaded.named_buffers())
    assert buffers.keys() == dict(hollow.named_buffers()).keys()
    assert all(torch.equal(buffers[name], b) for name, b in hollow.named_buffers())
