"""The records that pass between the parts: frozen dataclasses of plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol, runtime_checkable

from harness.errors import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

Body = Mapping[str, Any]

FinishReason = Literal["stop", "length", "missing"]
"""`missing`: no response, because a server refused the prompt or failed at it every time."""

FILTERED = frozenset(
    {
        "content_filter",
        "content_filtered",
        "safety",
        "recitation",
        "prohibited_content",
        "blocklist",
        "spii",
        "refusal",
        "sensitive",
        "guardrail_intervened",
    }
)
CUT_OFF = frozenset(
    {
        "length",
        "max_tokens",
        "max_output_tokens",
        "max_completion_tokens",
        "model_length",
        "model_context_window_exceeded",
        "incomplete",
        "error",
        "abort",
        "aborted",
        "cancelled",
    }
)
"""Finish reasons of several providers, in small letters; see `finish_word`."""


def finish_word(reason: str) -> str:
    """Return a finish reason in small letters, without an enumeration's name before it."""
    return reason.lower().rpartition(".")[2].replace("-", "_").removeprefix("finish_reason_")


Advance = Callable[[int], None]
"""Receives the number of steps done since the last call."""


@runtime_checkable
class CostDisplay(Protocol):
    """An `Advance` that also shows what the steps cost."""

    def add_cost(self, dollars: float) -> None:
        """Receive what has been spent since the last call."""


@runtime_checkable
class StatusDisplay(Protocol):
    """An `Advance` that also shows how the work is going."""

    def show_status(self, text: str) -> None:
        """Receive a few words, e.g. the loss of the latest step."""


Track = Callable[[str, int], AbstractContextManager[Advance]]
"""Shows the progress of (label, total) while the context is open; a total of 0 is unknown."""
StageFunction = Callable[[Path, Mapping[str, str], Track], None]
"""Writes a stage's result into an empty directory, given the paths of its inputs by name."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A reference to weights, never the weights themselves."""

    name: str
    """The name in tables."""
    path: str
    """A directory in the Hugging Face layout, or a hub id."""
    revision: str | None = None
    """The hub commit; None for a directory."""
    chat_template: str | None = None
    """A file whose Jinja text replaces the tokenizer's own chat template."""
    end_tokens: tuple[str, ...] = ()
    """Tokens that end a turn beside those that are found."""
    template_arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What the chat template's variables are, e.g. `enable_thinking: false`; plain data."""


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
    """A conversation to continue, with a stable id by which everything downstream is keyed."""

    id: str
    messages: tuple[Message, ...]
    meta: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The last user turn."""
        return self.messages[-1].content


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to answer `n` times; every sample's seed is derived from `seed`."""

    prompt: Prompt
    n: int
    seed: int


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled response, with the tokens exactly as they were sampled."""

    prompt_id: str
    index: int
    """The index among the request's n samples, from 0."""
    text: str
    """Where the response is missing, the reason."""
    prompt_token_ids: tuple[int, ...]
    """The rendered prompt; empty if the engine does not report it (a remote server)."""
    token_ids: tuple[int, ...]
    """The response with its end-of-turn token, if it has one; empty if not reported."""
    finish_reason: FinishReason
    seed: int
    """The request's seed."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two responses to one prompt, for an oracle to compare."""

    prompt: Prompt
    first: str
    second: str

    def swap(self) -> Comparison:
        """Return the same comparison with the responses in the other order."""
        return Comparison(self.prompt, self.second, self.first)


@dataclass(frozen=True, slots=True)
class Pair:
    """One training pair as token ids, so that no text is tokenised again."""

    prompt_id: str
    prompt_ids: tuple[int, ...]
    chosen_ids: tuple[int, ...]
    rejected_ids: tuple[int, ...]
    probability: float
    """The oracle's P(chosen preferred)."""
    win_rates: tuple[float, float] | None = None
    """P(chosen ≻ π_t) and P(rejected ≻ π_t): means over the prompt's responses, where a response
    against itself counts ½. None if they were not all compared with each other."""
    rewards: tuple[float, float] | None = None
    """Scalar rewards of both, an oracle's or a data set's; None if there are none."""
    samplers: tuple[str, str] | None = None
    """Which policies have sampled both, by name, or `data`; None: π_t."""


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
    rewards: Logps = None  # type: ignore[assignment]
    """The scalar reward of each response, where the oracle or the data set has one."""
    samplers: Mapping[str, Logps] = field(default_factory=dict)
    """1 for responses that a policy has sampled, else 0, by the policy's name; empty: π_t all."""

    def sampled_by(self, name: str) -> Logps:
        """Return 1 for each response that a policy has sampled, else 0, both of shape (batch,).

        Args:
            name: `policy` for π_t, `reference`, `previous-2`, ..., or `data` for a data set.

        Raises:
            HarnessError: the batch does not say who has sampled what.
        """
        if name in self.samplers:
            return self.samplers[name]
        if not self.samplers and name != "policy":
            raise HarnessError(
                f"the objective reads which responses {name!r} has sampled, which this batch does "
                f"not say; create it with PairBatch(policy, anchors, samplers={{{name!r}: ...}})"
            )
        chosen, rejected = self.policy.chosen.detach(), self.policy.rejected.detach()
        fill = float(not self.samplers)
        return Logps(chosen.new_full(chosen.shape, fill), rejected.new_full(rejected.shape, fill))

    def __post_init__(self) -> None:
        for name in ("lengths", "probability", "win_rates", "rewards"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, _Missing(name))


@dataclass(frozen=True, slots=True)
class Answer:
    """A policy's answer to a benchmark's prompt."""

    prompt_id: str
    text: str
    finish_reason: FinishReason | None = None
    """None if an answers file does not say."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of one submission, in the order of the prompts."""

    name: str
    """The submission's name."""
    answers: tuple[Answer, ...]
    missing: int = 0
    """The number of prompts without an answer."""
    altered: tuple[str, ...] = ()
    """Ids of prompts that the file quotes in another text than the benchmark's."""


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """One request to a judge, complete but for the judge's name."""

    id: str
    """Unique among a benchmark's requests, and the same in every run."""
    messages: tuple[Message, ...]
    parameters: Mapping[str, Any]
    """The parameters that the protocol fixes: max_tokens, temperature, logprobs, ..."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A judge's reply."""

    content: str
    """Without the thought of a reasoning model; empty if the thought does not end."""
    top_logprobs: tuple[tuple[tuple[str, float], ...], ...] | None
    """The most likely tokens at each position of the content with their log-probabilities, in nats
    (NaN: unknown); a position without any is empty; None if the server reports none."""
    finish_reason: str
    model: str
    """The model that served the reply, as reported by the server."""
    prompt_tokens: int
    """0 if the server does not report it."""
    completion_tokens: int
    """0 if the server does not report it."""
    thinking: str = ""
    """What a reasoning model thought before; it is never parsed."""

    @property
    def is_filtered(self) -> bool:
        """Whether a content filter ended the reply."""
        return finish_word(self.finish_reason) in FILTERED

    @property
    def is_complete(self) -> bool:
        """Whether neither a filter nor the token limit ended the reply."""
        return not self.is_filtered and finish_word(self.finish_reason) not in CUT_OFF


@dataclass(frozen=True, slots=True)
class ParsedVerdict:
    """The verdict that a protocol parses from a judge's replies."""

    value: float
    """A preference in [0, 1] for the first slot, or a rating, by the protocol."""
    label: str = ""
    """The label in the reply, if the protocol has labels (`A>>B`)."""
    mass: float | None = field(default=None, compare=False)
    """The probability that the parsed tokens hold together; None if the text was parsed."""
    spelled: bool = field(default=True, compare=False)
    """Whether a label was among the tokens as the protocol spells it, not only ` m` for `m`."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's verdict. An unparsed one is stored and counted, never as a tie or a loss."""

    request_id: str
    parsed: ParsedVerdict | None
    """None if the replies could not be parsed."""
    model: str
    """The model that served the replies; empty if the server refused the request."""
    text: str = ""
    """The replies to the request and its follow-ups, in order, separated by line breaks."""
    refusal: str = ""
    """Why the server refused this request; empty if it did not."""


@dataclass(frozen=True, slots=True)
class Graded:
    """A submission's answers, the baseline's, and the verdicts: all that a score needs."""

    label: str
    """The submission's name in tables."""
    judge: str
    """The judge's model, as it was asked for."""
    answers: tuple[Answer, ...]
    """In the order of the prompts; empty if a file holds verdicts only."""
    baseline: tuple[Answer, ...]
    """To the same prompts; empty without a baseline, or if a file does not hold them."""
    verdicts: tuple[Verdict, ...]
    prompts: tuple[Prompt, ...] = ()
    """The prompts of the answers; empty if a file does not hold them."""
    baseline_label: str = "baseline"
    notes: tuple[str, ...] = ()
    """Remarks on the file from which they were read."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its uncertainty, in the value's unit."""

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
    """A benchmark's score of a submission."""

    estimates: Mapping[str, Estimate]
    """By metric: `win_rate`, `length_controlled_win_rate`, ... in percent."""
    counts: Mapping[str, int]
    """Numbers of prompts: asked, judged, won, tied, ..."""
    items: tuple[Mapping[str, Any], ...] = ()
    """One row per prompt: the values whose averages are the estimates."""
    notes: tuple[str, ...] = ()
    """Remarks that a reader of the score must know."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Details of the computation as plain data: a selected constant, coefficients, ..."""


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """The expected cost of judging; follow-up requests are not included."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float | None
    """None if no price is known."""
    minutes: float
    grounds: str
    """What the estimate is based on."""
    price: str = ""
    """In dollars per million tokens, with its dates and source."""
    doubt: str = ""
    """Why the price may be out of date; empty if there is no sign of it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What verdicts have cost, over all runs."""

    calls: int
    """Calls that are, or may be, billed."""
    unparsed: int
    """Replies among them that could not be parsed."""
    quarantined: int
    """Replies among them that came from another model."""
    failed: int
    """Calls among them without a reply."""
    prompt_tokens: int
    completion_tokens: int
    estimated: int
    """Calls whose tokens are counted here: the server reported none, or what cannot be."""
    dollars: float | None
    """None if no price is known."""
    seconds: float | None
    """The mean duration of a call; None if it is not known."""
    price: str = ""
    """In dollars per million tokens, with its date and source."""
    refused: int = 0
    """Calls among them that the server refused: too long, or filtered."""


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """A published figure beside the one that the harness computes from the same verdicts."""

    metric: str
    published: float
    recomputed: float
    tolerance: float
    """The largest difference allowed, in the figure's unit."""
    explanation: str = ""
    """Why they differ, if they do."""

    @property
    def holds(self) -> bool:
        """Whether the two agree within the tolerance."""
        return abs(self.recomputed - self.published) <= self.tolerance


@dataclass(frozen=True, slots=True)
class RawReply:
    """A judge's reply to one request."""

    index: int
    """The index of the request, from `RequestQueue.next`."""
    text: str
    """The response body, unchanged."""
    seconds: float
    """From the start of the attempt that succeeded to its last byte."""
