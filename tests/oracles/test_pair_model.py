"""The pairwise preference model, on a tiny model of the same architecture with random weights."""

from __future__ import annotations

import shutil

import pytest
import torch
import transformers

from harness.core.hub import load_model, load_tokenizer, save_policy
from harness.errors import PolicyError
from harness.oracles.pair_model import PairModel, check_head, context, letter_tokens, question
from harness.oracles.rule import RuleOracle
from harness.toy.world import ToyPreference
from harness.training.sft import build_word_tokenizer, initialize_model
from harness.types import Comparison, Message, Policy, Prompt
from tests.conftest import tiny

WORDS = ("[CONTEXT]", "[RESPONSE", "A]", "B]", "A", "B", "<turn>", "user", "one", "two", "three")


@pytest.fixture(scope="module")
def model_path(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("pair-model")
    recipe = tiny().model_copy(update={"texts": Words()})
    save_policy(initialize_model(recipe), build_word_tokenizer(WORDS), path)
    return str(path)


class Words:
    def examples(self):
        return []

    def words(self):
        return list(WORDS)


def comparison(first: str, second: str) -> Comparison:
    return Comparison(Prompt("p", (Message("user", "one two"),)), first, second)


MANY = [comparison("one", "two two"), comparison("three " * 9, "one"), comparison("two", "one")]


def oracle(path: str, micro_tokens: int = 8192) -> PairModel:
    return PairModel(name="tiny", path=path, dtype="float32", micro_tokens=micro_tokens)


def test_the_context_is_rendered_in_the_plain_template():
    turns = [Message("user", "one"), Message("assistant", "two"), Message("user", "three")]
    assert context(turns) == (
        "\n\n<turn> user\n one\n<turn> assistant\n two\n<turn> user\n three\n"
    )


def test_the_plain_template_is_what_transformers_makes_of_its_jinja_text():
    tokenizer = build_word_tokenizer(["one"])
    turn = "\n\n<turn> {}\n {{{{ message['content'] }}}}"
    tokenizer.chat_template = (
        "\n{% for message in messages %}{% if loop.index0 % 2 == 0 %}"
        f"{turn.format('user')}{{% else %}}{turn.format('assistant')}"
        "{% endif %}{% endfor %}\n\n\n"
    )
    roles = ("user", "assistant", "user")
    for count in (1, 2, 3):
        turns = [{"role": role, "content": f"{role} {count}"} for role in roles[:count]]
        rendered = tokenizer.apply_chat_template(turns, tokenize=False)
        assert context([Message(**turn) for turn in turns]) == rendered


def test_the_preference_is_the_mean_of_both_orders_read_from_two_logits(model_path):
    policy = Policy("tiny", model_path)
    tokenizer, model = load_tokenizer(policy), load_model(policy, torch.float32, "cpu")
    a, b = letter_tokens(tokenizer)

    def first_wins(c: Comparison) -> float:
        logits = model(torch.tensor([question(tokenizer, c)])).logits[0, -1]
        return float(logits[[a, b]].softmax(-1)[0].detach())

    expected = [(first_wins(c) + 1 - first_wins(c.swap())) / 2 for c in MANY]
    assert oracle(model_path).compare(MANY, lambda _: None) == pytest.approx(expected, abs=1e-6)


def test_swapping_turns_the_preference_around(model_path):
    there = oracle(model_path).compare(MANY, lambda _: None)
    back = oracle(model_path).compare([c.swap() for c in MANY], lambda _: None)
    assert [x + y for x, y in zip(there, back, strict=True)] == pytest.approx([1.0] * 3, abs=1e-6)


def test_neighbours_in_a_pack_change_nothing(model_path):
    probabilities = [
        oracle(model_path, tokens).compare(MANY, lambda _: None) for tokens in (1, 60, 8192)
    ]
    assert probabilities[0] == pytest.approx(probabilities[1], abs=1e-5)
    assert probabilities[0] == pytest.approx(probabilities[2], abs=1e-5)


def test_a_model_that_cannot_say_a_or_b_is_refused(tiny_policy, tmp_path):
    policy = Policy("tiny", tiny_policy)
    save_policy(load_model(policy, torch.float32, "cpu"), build_word_tokenizer(["one"]), tmp_path)
    tokenizer = load_tokenizer(Policy("other", str(tmp_path)))
    with pytest.raises(PolicyError, match="not a pair model"):
        letter_tokens(tokenizer)


def test_a_rule_is_asked_for_every_comparison():
    counts: list[int] = []
    rule = RuleOracle(rule=ToyPreference())
    toy = Comparison(Prompt("p", (Message("user", "first a b"),)), "a . warm", "b . warm")
    probabilities = rule.compare([toy, toy.swap()], counts.append)
    assert sum(probabilities) == pytest.approx(1.0)
    assert probabilities[0] > 0.9
    assert counts == [2]


def test_progress_counts_every_comparison_once(model_path):
    counts: list[int] = []
    oracle(model_path).compare(MANY, counts.append)
    assert sum(counts) == len(MANY)


def test_weights_are_read_once_for_all_rounds_where_they_are_kept(model_path, tmp_path):
    shutil.copytree(model_path, tmp_path / "model")
    kept_oracle = oracle(str(tmp_path / "model"))
    with kept_oracle.keep_loaded():
        first = kept_oracle.compare(MANY, lambda _: None)
        (tmp_path / "model" / "model.safetensors").unlink()
        assert kept_oracle.compare(MANY, lambda _: None) == first
    with pytest.raises(PolicyError, match="no model in"):
        kept_oracle.compare(MANY, lambda _: None)


def test_a_head_that_does_more_than_multiply_is_refused():
    sizes = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    torch.manual_seed(0)
    config = transformers.CohereConfig(**sizes, num_attention_heads=2, logit_scale=0.1)
    model = transformers.CohereForCausalLM(config).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(50)
    with pytest.raises(PolicyError, match="Cohere.*not supported as a pair model"):
        check_head(model, [5, 6])
