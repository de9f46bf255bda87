"""The scalar reward model: rewards, one pass a response, one beginning-of-text."""

from __future__ import annotations

import math

import pytest
import torch
import transformers
from transformers import AutoModelForSequenceClassification

from harness.core.hub import save_policy
from harness.errors import PolicyError
from harness.oracles.reward_model import RewardModel, conversation, sigmoid
from harness.protocols import PreferenceOracle, RewardOracle
from harness.types import Comparison
from tests.oracles.tiny import PROMPT, SIZES, TEXTS, all_pairs, saved, tokenizer


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("reward")
    return saved("LlamaForSequenceClassification", folder, num_labels=1)


def oracle(path: str, **settings) -> RewardModel:
    return RewardModel(name="tiny", path=path, dtype="float32", **settings)


def test_rewards_are_the_models_own_one_at_a_time(path):
    model = AutoModelForSequenceClassification.from_pretrained(path)
    rows = [conversation(tokenizer(), PROMPT, text) for text in TEXTS]
    with torch.inference_mode():
        expected = [model(torch.tensor([row])).logits.item() for row in rows]
    rewards = oracle(path, micro_tokens=30).score(
        [(PROMPT, text) for text in TEXTS], lambda _: None
    )
    assert rewards == pytest.approx(expected, abs=1e-5)
    assert len(set(expected)) == 4


def test_all_pairs_cost_one_pass_a_response(path):
    passes: list[int] = []
    judge = oracle(path)
    probabilities = judge.compare(all_pairs(), passes.append)
    assert sum(passes) == len(TEXTS) == 4
    assert len(probabilities) == 6
    # the bracket's later rounds ask for nothing new
    assert judge.compare(all_pairs()[:2], passes.append) == probabilities[:2]
    assert sum(passes) == 4


def test_the_preference_is_transitive_and_skew(path):
    judge = oracle(path)
    rewards = judge.score([(PROMPT, text) for text in TEXTS], lambda _: None)
    there = judge.compare(all_pairs(), lambda _: None)
    for comparison, probability in zip(all_pairs(), there, strict=True):
        apart = rewards[TEXTS.index(comparison.first)] - rewards[TEXTS.index(comparison.second)]
        assert probability == pytest.approx(1 / (1 + math.exp(-apart)))
    back = judge.compare([c.swap() for c in all_pairs()], lambda _: None)
    assert [a + b for a, b in zip(there, back, strict=True)] == pytest.approx([1.0] * 6)


def test_it_is_an_oracle_with_rewards(path):
    assert isinstance(oracle(path), PreferenceOracle)
    assert isinstance(oracle(path), RewardOracle)


@pytest.mark.parametrize("template", ["", "{{ bos_token }} "])
def test_a_conversation_begins_once(template):
    words = tokenizer(bos=True, template=template)
    row = conversation(words, PROMPT, "one")
    assert words.decode(row) == "<s> <|user|> one two three <|end|> <|assistant|> one <|end|>"


def test_a_model_without_the_head_is_refused(tmp_path):
    path = saved("LlamaForCausalLM", tmp_path)
    # its configuration says two labels and its weights hold no head
    with pytest.raises(PolicyError, match=r"lacks score\.weight"):
        oracle(path).compare([Comparison(PROMPT, "one", "two")], lambda _: None)


def test_a_classifier_of_two_labels_is_refused(tmp_path):
    path = saved("LlamaForSequenceClassification", tmp_path, num_labels=2)
    with pytest.raises(PolicyError, match="has 2 labels"):
        oracle(path).compare([Comparison(PROMPT, "one", "two")], lambda _: None)


def test_rewards_far_apart_do_not_overflow():
    assert sigmoid(-1e4) == 0.0
    assert sigmoid(1e4) == 1.0
    assert sigmoid(-3.0) == pytest.approx(0.04742587)


LLAMA_LIKE = ("Llama", "Mistral", "Qwen3", "Gemma", "Gemma2", "Phi3", "GPTNeoX")
GPT2_SIZES = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 128}
OTHER_SIZES = {
    "GPT2": GPT2_SIZES,
    "GPTJ": GPT2_SIZES | {"rotary_dim": 4},
    "OPT": {
        **{"hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
        **{"word_embed_proj_dim": 16, "max_position_embeddings": 128},
    },
    "Bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2},
}


def saved_architecture(name: str, pad: int | None, words, path) -> str:
    """Write a tiny reward model of an architecture, with a padding token of the model."""
    sizes = {**SIZES, "head_dim": 8} if name in LLAMA_LIKE else OTHER_SIZES[name]
    config = getattr(transformers, f"{name}Config")(
        **{"vocab_size": len(words), "num_labels": 1, "pad_token_id": pad},
        **{"eos_token_id": words.eos_token_id, "bos_token_id": 0},
        **sizes,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(transformers, f"{name}ForSequenceClassification")(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
    save_policy(model, words, path)
    return str(path)


@pytest.mark.parametrize("padding", ["own", "end of turn", "none"])
@pytest.mark.parametrize("name", [*LLAMA_LIKE, *OTHER_SIZES])
def test_the_token_that_the_models_own_forward_reads_is_scored(tmp_path, name, padding):
    words = tokenizer()
    end = words.convert_tokens_to_ids("<|end|>")
    pad = {"own": words.convert_tokens_to_ids("<s>"), "end of turn": end, "none": None}[padding]
    path = saved_architecture(name, pad, words, tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(path)
    rows = [conversation(words, PROMPT, text) for text in TEXTS]
    assert all(row[-1] == end for row in rows)
    with torch.inference_mode():
        expected = [model(torch.tensor([row])).logits.item() for row in rows]
    rewards = oracle(path).score([(PROMPT, text) for text in TEXTS], lambda _: None)
    assert rewards == pytest.approx(expected, abs=1e-3)


def test_a_model_that_pools_in_another_way_is_refused(path, monkeypatch):
    forward = transformers.LlamaForSequenceClassification.forward

    def pool_first(self, input_ids, **more):
        return forward(self, input_ids[:, :1], **more)

    monkeypatch.setattr(transformers.LlamaForSequenceClassification, "forward", pool_first)
    with pytest.raises(PolicyError, match="pools in another way"):
        oracle(path).score([(PROMPT, "one")], lambda _: None)
