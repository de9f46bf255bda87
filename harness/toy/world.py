"""The toy world's grammar: what is asked, what an answer says, whether it is right.

An instruction names a task and some letters (`sort d b a`); an answer gives the letters that the
task asks for, then a style word, then any number of filler words (`a b d . warm indeed thus`).
"""

import random
from dataclasses import dataclass

TASKS = ("sort", "largest", "smallest", "first")
LETTERS = tuple("abcdefgh")
STYLES = ("plain", "warm", "bold")
FILLERS = ("indeed", "thus", "quite", "truly")
BAR = "."
WORDS = (*TASKS, *LETTERS, BAR, *STYLES, *FILLERS)
SIZES = (3, 4)
LONGEST = 6


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer says."""

    correct: bool
    style: str | None
    """None where the answer names no style or is not grammatical."""
    length: int
    """Words in the whole answer."""


def instruction(rng: random.Random) -> str:
    """Draw an instruction."""
    letters = rng.sample(LETTERS, rng.choice(SIZES))
    return f"{rng.choice(TASKS)} {' '.join(letters)}"


def solution(text: str) -> list[str]:
    """Return the letters that an instruction asks for.

    Raises:
        ValueError: the text is no instruction of this world.
    """
    task, *letters = text.split()
    if task not in TASKS or not letters or not set(letters) <= set(LETTERS):
        raise ValueError(f"{text!r} is no instruction of the toy world")
    match task:
        case "sort":
            return sorted(letters)
        case "first":
            return letters[:1]
        case "smallest":
            return [min(letters)]
        case _:
            return [max(letters)]


def answer(text: str, rng: random.Random, *, correct: float) -> str:
    """Draw an answer to an instruction: right with probability `correct`, any style and length."""
    right = solution(text)
    letters = right if rng.random() < correct else spoiled(right, text, rng)
    fillers = [rng.choice(FILLERS) for _ in range(rng.randint(0, LONGEST))]
    return " ".join([*letters, BAR, rng.choice(STYLES), *fillers])


def spoiled(right: list[str], text: str, rng: random.Random) -> list[str]:
    """Draw letters that are not the right ones but look like an answer to the task."""
    letters = text.split()[1:]
    while True:
        wrong = rng.sample(letters, len(right))
        if wrong != right:
            return wrong


def read(text: str, reply: str) -> Reading:
    """Read an answer; one that breaks the grammar is not correct and has no style."""
    words = reply.split()
    letters, bar, rest = _split(words)
    grammatical = bar and bool(rest) and rest[0] in STYLES and set(rest[1:]) <= set(FILLERS)
    correct = grammatical and letters == solution(text)
    return Reading(correct, rest[0] if grammatical else None, len(words))


def _split(words: list[str]) -> tuple[list[str], bool, list[str]]:
    if BAR not in words:
        return words, False, []
    at = words.index(BAR)
    return words[:at], True, words[at + 1 :]


def held_out(count: int = 1000) -> list[str]:
    """Return the instructions that are kept for evaluation: training never sees them."""
    rng = random.Random("toy evaluation")
    found: dict[str, None] = {}
    while len(found) < count:
        found[instruction(rng)] = None
    return list(found)
