"""The records that pass between the parts: plain data, standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from harness.errors import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

Body = Mapping[str, Any]

FinishReason = Literal["stop", "length"]

Advance = Callable[[int], None]
"""Told how many more steps are done."""
Track = Callable[[str, int], AbstractContextManager[Advance]]
"""Shows (label, total) while the context is open; a total of 0 is unknown."""
StageFunction = Callable[[Path, Mapping[str, str], Track], None]
"""Writes a stage's result into an empty directory, given the paths of its inputs by name."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A name for weights, never the weights themselves."""

    name: str
    """What tables call it."""
    path: str
    """A folder in the Hugging Face layout, or a hub id."""
    revision: str | None = None
    """The hub commit; None for a folder."""
    chat_template: str | None = None
    """A file whose Jinja text replaces the tokenizer's own chat template."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str

    def as_dict(self) -> dict[str, str]:
        """Return the message as chat templates and OpenAI-compatible servers read it."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation to be continued, with the stable id that everything downstream is keyed by."""

    id: str
    messages: tuple[Message, ...]
    meta: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The last user turn."""
        return self.messages[-1].content


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to be answered `n` times; every sample's seed is derived from `seed`."""

    prompt: Prompt
    n: int
    seed: int


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled response, with the very tokens that it is made of."""

    prompt_id: str
    index: int
    """Which of the request's n samples this is, from 0."""
    text: str
    prompt_token_ids: tuple[int, ...]
    """The rendered prompt; empty where the engine does not tell (a remote server)."""
    token_ids: tuple[int, ...]
    """The response with its end-of-turn token, if it came to one; empty where not told."""
    finish_reason: FinishReason
    seed: int
    """The seed that the request was made with."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two responses to one prompt, to be compared by an oracle."""

    prompt: Prompt
    first: str
    second: str

    def swap(self) -> Comparison:
        """The same comparison with the responses in the other order."""
        return Comparison(self.prompt, self.second, self.first)


@dataclass(frozen=True, slots=True)
class Pair:
    """One training pair, as token ids, so that nothing is ever tokenised twice."""

    prompt_id: str
    prompt_ids: tuple[int, ...]
    chosen_ids: tuple[int, ...]
    rejected_ids: tuple[int, ...]
    probability: float
    """The oracle's P(chosen preferred)."""
    win_rates: tuple[float, float] | None = None
    """P(chosen ≻ π_t) and P(rejected ≻ π_t): means over the prompt's responses, each against itself
    a half. None where they were not all compared with each other."""


@dataclass(frozen=True, slots=True)
class Logps:
    """One number for each of the two responses of every pair, each of shape (batch,)."""

    chosen: Tensor
    rejected: Tensor

    def __sub__(self, other: Logps) -> Logps:
        return Logps(self.chosen - other.chosen, self.rejected - other.rejected)

    def __truediv__(self, other: Logps) -> Logps:
        return Logps(self.chosen / other.chosen, self.rejected / other.rejected)

    def contrast(self) -> Tensor:
        """Return chosen minus rejected, shape (batch,)."""
        return self.chosen - self.rejected


class _Missing:
    """The value of a field that a batch does not have: whatever is done with it raises."""

    __slots__ = ("field",)

    def __init__(self, field: str) -> None:
        self.field = field

    def __repr__(self) -> str:
        return "None"

    def _refuse(self, *_: Any) -> NoReturn:
        raise HarnessError(
            f"the objective reads `{self.field}`, which this batch does not have; "
            f"create it with PairBatch(policy, anchors, {self.field}=...)"
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name in self.__slots__ or name.startswith("__"):  # copying and pickling ask for these
            raise AttributeError(name)
        self._refuse()

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> NoReturn:
        values = (*args, *(kwargs or {}).values())
        next(value for value in values if isinstance(value, cls))._refuse()

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __neg__ = __pow__ = _refuse
    __truediv__ = __rtruediv__ = __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = _refuse


@dataclass(frozen=True, slots=True)
class PairBatch:
    """Everything that an objective may read of a batch of pairs.

    Training fills every field. A batch that is created by hand needs those that its objective
    reads: `PairBatch(policy, {"reference": reference})` is enough for DPO. Reading a field that was
    left out raises a HarnessError that names it.
    """

    policy: Logps
    """Log-probabilities of the policy in training, summed over each response, in nats."""
    anchors: Mapping[str, Logps]
    """Log-probabilities of the frozen policies by name (`reference`, `previous`), likewise."""
    lengths: Logps = None  # type: ignore[assignment]
    """The number of tokens in each response."""
    probability: Tensor = None  # type: ignore[assignment]
    """The oracle's P(chosen preferred), shape (batch,)."""
    win_rates: Logps = None  # type: ignore[assignment]
    """P(y ≻ π_t) of each response; NaN if the pairing does not compare all responses."""

    def __post_init__(self) -> None:
        for name in ("lengths", "probability", "win_rates"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, _Missing(name))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a policy says to a benchmark's prompt."""

    prompt_id: str
    text: str
    finish_reason: FinishReason | None = None
    """None where an answers file does not tell."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What one contestant says, in the order of the prompts."""

    name: str
    """Who says it."""
    answers: tuple[Answer, ...]
    missing: int = 0
    """To how many prompts there is no answer."""


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """One question to a judge: the whole of it, but for the judge's name."""

    id: str
    """Unique within a benchmark's requests, stable between runs."""
    messages: tuple[Message, ...]
    parameters: Mapping[str, Any]
    """What the protocol fixes: max_tokens, temperature, logprobs, ..."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a judge answered, as it came."""

    content: str
    top_logprobs: tuple[tuple[tuple[str, float], ...], ...] | None
    """For each position of the answer its most likely tokens, in nats; None if not told."""
    finish_reason: str
    model: str
    """The model that the server says it served."""
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class ParsedVerdict:
    """What a protocol reads out of a reply."""

    value: float
    """A preference in [0, 1] for the first slot, or a rating: the protocol says which."""
    label: str = ""
    """The reply's own label, where the protocol has one (`A>>B`)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's finding. An unread one is kept and counted, never a tie and never a loss."""

    request_id: str
    parsed: ParsedVerdict | None
    """None when the reply could not be read."""
    model: str
    """The model that the server says it served; empty where it took no request at all."""
    text: str = ""
    """What the judge said: its replies to the request, in order, a line break between them."""
    refusal: str = ""
    """Why the server would not take this one request; empty: it did."""


@dataclass(frozen=True, slots=True)
class Graded:
    """A contestant's answers, the baseline's, and the verdicts: all that a score is made of."""

    label: str
    """What tables call the contestant."""
    judge: str
    """The judge as it was asked for."""
    answers: tuple[Answer, ...]
    """In the order of the prompts; empty where a file holds verdicts alone."""
    baseline: tuple[Answer, ...]
    """To the same prompts; empty where there is none, or a file does not hold them."""
    verdicts: tuple[Verdict, ...]
    prompts: tuple[Prompt, ...] = ()
    """What the answers answer; empty where a file does not tell."""
    baseline_label: str = "baseline"
    notes: tuple[str, ...] = ()
    """What was found in the file that they were read from."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with what is known of its uncertainty; all in the figure's own unit."""

    value: float
    low: float | None = None
    """Lower end of the 95 % interval."""
    high: float | None = None
    """Upper end of the 95 % interval."""
    standard_error: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.4g}"
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def _repr_html_(self) -> str:
        return f"<span>{self}</span>"


@dataclass(frozen=True, slots=True)
class Score:
    """What a benchmark makes of its verdicts."""

    estimates: Mapping[str, Estimate]
    """By metric: `win_rate`, `length_controlled_win_rate`, ... in percent."""
    counts: Mapping[str, int]
    """How many prompts were asked, judged, won, drawn, ..."""
    items: tuple[Mapping[str, Any], ...] = ()
    """One row a prompt: what the estimates are averages of."""
    notes: tuple[str, ...] = ()
    """What a reader of the figures must know."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the figures rest on, as plain data: a chosen constant, coefficients, ..."""


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What asking a judge is expected to take; follow-ups are not foreseen."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float | None
    """None where no price is known."""
    minutes: float
    grounds: str
    """What the figures rest on."""
    price: str = ""
    """In dollars, of a million tokens, with its dates and source."""
    doubt: str = ""
    """Why the price may not hold any more; empty: nothing speaks against it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What verdicts have cost, from the first call to the last, in whatever run."""

    calls: int
    """All that are, or may be, on the judge's bill."""
    unparsed: int
    """Replies among them that could not be read."""
    quarantined: int
    """Replies among them that another model gave."""
    failed: int
    """Calls among them that brought no reply at all."""
    prompt_tokens: int
    completion_tokens: int
    estimated: int
    """Calls whose tokens are a guess, because the server did not tell."""
    dollars: float | None
    """None where no price is known."""
    seconds: float | None
    """The mean of a call; None where that is not known."""
    price: str = ""
    """In dollars, of a million tokens, with its date and source."""
    refused: int = 0
    """Calls among them that the server would not take: too long, or filtered."""


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """A published figure beside the one that the harness makes of the same verdicts."""

    metric: str
    published: float
    recomputed: float
    tolerance: float
    """How far apart they may lie, in the figure's own unit."""
    explanation: str = ""
    """Why they differ, where they do."""

    @property
    def holds(self) -> bool:
        """Say whether the two agree within the tolerance."""
        return abs(self.recomputed - self.published) <= self.tolerance


@dataclass(frozen=True, slots=True)
class RawReply:
    """A judge's reply to one request."""

    index: int
    """Which request, as `Desk.next` named it."""
    text: str
    """The response's body, as it came."""
    seconds: float
    """From the try that was answered to its last byte."""
