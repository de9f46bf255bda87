"""PairRM's scorer against the same computation written out, on a tiny DeBERTa."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from harness.errors import PolicyError
from harness.oracles.pair_ranker import (
    FIRST,
    SECOND,
    SOURCE,
    PairRanker,
    load_ranker_tokenizer,
    source_text,
)
from harness.types import Comparison, Message, Policy
from tests.oracles.tiny import PROMPT, WORDS, all_pairs

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # in DeBERTa's code

SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")


def ranker_tokenizer(marks: tuple[str, ...]) -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = [("[CLS]", 1), ("[SEP]", 2)]
    words.post_processor = TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    fast = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    fast.add_tokens(list(marks))
    return fast


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    from transformers import DebertaV2Config, DebertaV2Model

    folder = tmp_path_factory.mktemp("ranker")
    tokenizer = ranker_tokenizer((SOURCE, FIRST, SECOND))
    config = DebertaV2Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        pad_token_id=0,
        relative_attention=True,
        position_biased_input=False,
        pos_att_type=["p2c", "c2p"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = DebertaV2Model(config)
        for parameter in body.parameters():
            torch.nn.init.normal_(parameter)
        sizes = {"1.weight": (16, 32), "1.bias": (16,), "4.weight": (1, 16), "4.bias": (1,)}
        weights = {f"head_layer.{name}": torch.randn(*size) for name, size in sizes.items()}
    weights |= {f"pretrained_model.{name}": t.clone() for name, t in body.state_dict().items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def oracle(path: str, **settings) -> PairRanker:
    return PairRanker(name="tiny", path=path, **settings)


def test_a_row_holds_source_and_candidates_each_with_its_mark(path):
    tokenizer = load_ranker_tokenizer(Policy("tiny", path))
    row = oracle(path).render(tokenizer, Comparison(PROMPT, "four", "five one"))
    expected = (
        "[CLS] <|source|> one two three [SEP] [CLS] <|candidate1|> four [SEP] "
        "[CLS] <|candidate2|> five one [SEP]"
    )
    assert tokenizer.decode(row).split() == expected.split()


def test_what_a_short_prompt_leaves_free_the_candidates_share(path):
    tokenizer = load_ranker_tokenizer(Policy("tiny", path))
    # the source takes 6 of 8; (8 + 2 * 4 - 6) / 2 = 5 tokens a candidate, 3 of them its own frame
    small = oracle(path, source_length=8, candidate_length=4)
    row = small.render(tokenizer, Comparison(PROMPT, "four four four", "five"))
    cut = "[CLS] <|candidate1|> four four [SEP]"
    assert tokenizer.decode(row).split()[6:11] == cut.split()


def test_the_preference_is_the_heads_difference_in_both_orders(path):
    from transformers import DebertaV2Config, DebertaV2Model

    tokenizer = load_ranker_tokenizer(Policy("tiny", path))
    weights = load_file(Path(path) / "model.safetensors")
    body = DebertaV2Model(DebertaV2Config.from_pretrained(path)).eval()
    strip = len("pretrained_model.")
    body.load_state_dict({n[strip:]: t for n, t in weights.items() if n.startswith("pretrained")})

    def scored(row: list[int], mark: str) -> torch.Tensor:
        hidden = body(torch.tensor([row])).last_hidden_state[0]
        at = [row.index(tokenizer.convert_tokens_to_ids(name)) for name in (SOURCE, mark)]
        both = torch.cat([hidden[at[0]], hidden[at[1]]])
        inner = torch.tanh(weights["head_layer.1.weight"] @ both + weights["head_layer.1.bias"])
        return weights["head_layer.4.weight"] @ inner + weights["head_layer.4.bias"]

    def first_wins(c: Comparison) -> float:
        row = oracle(path).render(tokenizer, c)
        with torch.inference_mode():
            return float(torch.sigmoid(scored(row, FIRST) - scored(row, SECOND)))

    expected = [(first_wins(c) + 1 - first_wins(c.swap())) / 2 for c in all_pairs()]
    for size in (1, 5):
        steps: list[int] = []
        probabilities = oracle(path, batch_size=size).compare(all_pairs(), steps.append)
        assert probabilities == pytest.approx(expected, abs=1e-5)
        assert sum(steps) == 6
    assert max(abs(p - 0.5) for p in expected) > 0.005


def test_roles_are_named_where_there_is_more_than_an_instruction():
    turns = [Message("user", "one"), Message("assistant", "two"), Message("user", "three")]
    assert source_text(turns[:1]) == "one"
    assert source_text(turns) == "USER: one\nASSISTANT: two\nUSER: three"


def test_a_tokenizer_without_the_marks_is_refused(tmp_path):
    ranker_tokenizer((SOURCE,)).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(PolicyError, match=r"lacks <\|candidate1\|>, <\|candidate2\|>"):
        load_ranker_tokenizer(Policy("tiny", str(tmp_path)))
