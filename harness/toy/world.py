"""The toy world: its grammar, its exact preference, and a corpus for fine-tuning.

An instruction names a task and some letters (`sort d b a`). An answer gives the letters that the
task asks for, then a style word, then any number of filler words (`a b d . warm indeed thus`). The
preference is

P(y ≻ y' | x) = σ(correctness · Δcorrect + style · cycle(y, y') + length · clip(Δlength, ±span))

It is not transitive: plain beats warm, warm beats bold, bold beats plain. Its bias towards length
is what an honest evaluation must control for.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

from harness.core.config import Component
from harness.core.seeds import derive

TASKS = ("sort", "largest", "smallest", "first")
LETTERS = tuple("abcdefgh")
STYLES = ("plain", "warm", "bold")
FILLERS = ("indeed", "thus", "quite", "truly")
SEPARATOR = "."
WORDS = (*TASKS, *LETTERS, SEPARATOR, *STYLES, *FILLERS)
LETTER_COUNTS = (3, 4)
MAX_FILLERS = 6


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """The content of an answer."""

    correct: bool
    style: str | None
    """None if the answer names no style or is not grammatical."""
    length: int
    """Words in the whole answer."""


def draw_instruction(rng: random.Random) -> str:
    """Return a random instruction."""
    letters = rng.sample(LETTERS, rng.choice(LETTER_COUNTS))
    return f"{rng.choice(TASKS)} {' '.join(letters)}"


def solution(text: str) -> list[str]:
    """Return the letters that an instruction asks for.

    Raises:
        ValueError: the text is not an instruction of this world.
    """
    task, *letters = text.split()
    if task not in TASKS or not letters or not set(letters) <= set(LETTERS):
        raise ValueError(f"{text!r} is not an instruction of the toy world")
    match task:
        case "sort":
            return sorted(letters)
        case "first":
            return letters[:1]
        case "smallest":
            return [min(letters)]
        case _:
            return [max(letters)]


def draw_answer(text: str, rng: random.Random, *, correct: float) -> str:
    """Return a random answer: right with probability `correct`, of any style and length."""
    right = solution(text)
    letters = right if rng.random() < correct else draw_wrong_letters(right, text, rng)
    fillers = [rng.choice(FILLERS) for _ in range(rng.randint(0, MAX_FILLERS))]
    return " ".join([*letters, SEPARATOR, rng.choice(STYLES), *fillers])


def draw_wrong_letters(right: list[str], text: str, rng: random.Random) -> list[str]:
    """Return wrong letters in the form of an answer to the task."""
    letters = text.split()[1:]
    while True:
        wrong = rng.sample(letters, len(right))
        if wrong != right:
            return wrong


def parse_answer(text: str, reply: str) -> ParsedAnswer:
    """Parse an answer; an ungrammatical one is not correct and has no style."""
    words = reply.split()
    letters, has_separator, rest = _split(words)
    grammatical = (
        has_separator and bool(rest) and rest[0] in STYLES and set(rest[1:]) <= set(FILLERS)
    )
    correct = grammatical and letters == solution(text)
    return ParsedAnswer(correct, rest[0] if grammatical else None, len(words))


def _split(words: list[str]) -> tuple[list[str], bool, list[str]]:
    if SEPARATOR not in words:
        return words, False, []
    index = words.index(SEPARATOR)
    return words[:index], True, words[index + 1 :]


def held_out_instructions(count: int = 1000) -> list[str]:
    """Return the instructions that are held out for evaluation; training never sees them."""
    rng = random.Random("toy evaluation")
    instructions: dict[str, None] = {}
    while len(instructions) < count:
        instructions[draw_instruction(rng)] = None
    return list(instructions)


class ToyPreference(Component):
    """The preference P(first preferred), with the weights of its three terms in nats."""

    correctness: float = 4.0
    style: float = 1.2
    length: float = 0.25
    span: int = 4
    """The difference in words beyond which more length makes no difference."""

    def __call__(self, prompt: str, first: str, second: str) -> float:
        """Return P(first preferred to second), in (0, 1).

        Raises:
            ValueError: the prompt is not an instruction of the toy world.
        """
        a, b = parse_answer(prompt, first), parse_answer(prompt, second)
        difference = max(-self.span, min(self.span, a.length - b.length))
        logit = (
            self.correctness * (a.correct - b.correct)
            + self.style * cycle(a, b)
            + self.length * difference
        )
        return 1 / (1 + math.exp(-logit))


def cycle(a: ParsedAnswer, b: ParsedAnswer) -> int:
    """Return 1 if a's style beats b's, -1 if it loses, else 0; an answer without style loses."""
    if a.style is None or b.style is None:
        return (a.style is not None) - (b.style is not None)
    step = (STYLES.index(b.style) - STYLES.index(a.style)) % len(STYLES)
    return (0, 1, -1)[step]


class ToyPairs(Component):
    """Preference pairs of the toy world: two random answers, the preferred one chosen."""

    count: int
    correct: float = 0.5
    """The share of right answers."""
    preference: ToyPreference = ToyPreference()
    seed: int = 0

    def rows(self) -> list[dict[str, Any]]:
        """Return rows with `prompt`, `chosen`, `rejected` and `probability`."""
        rng = random.Random(derive(self.seed, "toy pairs"))
        excluded = set(held_out_instructions())
        rows: list[dict[str, Any]] = []
        while len(rows) < self.count:
            prompt = draw_instruction(rng)
            answers = [draw_answer(prompt, rng, correct=self.correct) for _ in range(2)]
            probability = self.preference(prompt, *answers)
            if prompt in excluded or answers[0] == answers[1]:
                continue
            if probability < 0.5:
                answers, probability = answers[::-1], 1 - probability
            chosen, rejected = answers
            row = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
            rows.append({**row, "probability": probability})
        return rows


class ToyCorpus(Component):
    """Instructions with answers of random correctness, style and length, for fine-tuning."""

    count: int
    correct: float = 0.5
    """The share of right answers."""
    seed: int = 0

    def examples(self) -> list[tuple[str, str]]:
        """Return (instruction, answer) pairs without the held-out instructions."""
        rng = random.Random(derive(self.seed, "toy texts"))
        excluded = set(held_out_instructions())
        pairs: list[tuple[str, str]] = []
        while len(pairs) < self.count:
            text = draw_instruction(rng)
            if text not in excluded:
                pairs.append((text, draw_answer(text, rng, correct=self.correct)))
        return pairs

    def words(self) -> list[str]:
        """Return every word that the texts can contain."""
        return list(WORDS)
