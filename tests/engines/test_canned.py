from __future__ import annotations

from collections.abc import Callable

from harness.engines.canned import CannedEngine
from harness.protocols import Sampling
from harness.types import Completion, Policy, Request

Ask = Callable[..., Request]


def generate(engine: CannedEngine, request: Request, sampling: Sampling) -> list[Completion]:
    return engine.generate(Policy("", ""), [request], sampling, lambda _: None)


def test_an_answer_comes_from_the_table_or_is_the_default(ask: Ask) -> None:
    engine = CannedEngine(text="no", answers={"w1": "yes"})
    assert [c.text for c in generate(engine, ask("w1", 2), Sampling())] == ["yes", "yes"]
    assert [c.text for c in generate(engine, ask("w2", 1), Sampling())] == ["no"]


def test_samples_take_the_variants_in_turn_from_the_seed_on(ask: Ask) -> None:
    engine = CannedEngine(text="a", variants=("", "b", "c"))
    assert [c.text for c in generate(engine, ask("w1", 4, 2), Sampling())] == [
        "ac",
        "a",
        "ab",
        "ac",
    ]


def test_a_character_that_is_cut_is_left_out_of_the_text(ask: Ask) -> None:
    (completion,) = generate(CannedEngine(text="aé"), ask("w1"), Sampling(max_tokens=2))
    assert (completion.text, completion.token_ids, completion.finish_reason) == (
        "a",
        (0x61, 0xC3),
        "length",
    )
