"""Judges: `harness.judge`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api.components import Overrides, Source, build_component, open_workspace
from harness.types import CostEstimate, JudgeRequest, Usage, Verdict

if TYPE_CHECKING:
    from harness.core.workspace import Workspace
    from harness.protocols import Advance, PersistentJudge, VerdictParser

RUNS = "runs"
"""The workspace where none is named."""


@dataclass(frozen=True)
class ConfiguredJudge:
    """A judge whose verdicts are cached in a workspace; implements `harness.protocols.Judge`.

    Where no workspace is named, it is that of the evaluation, or else `runs`.
    """

    client: Any
    """Asks the judge: a component of configs/judge, or a panel of them."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """budget, price, accepted models, batch mode: see `judge`."""
    workspace: Workspace | None = None

    def bind(self, workspace: Workspace) -> PersistentJudge:
        """Return the judge with the verdict store of its own workspace, or else of this one."""
        from harness.judges.batch import cached_judge
        from harness.judges.cached import judge_options

        store = (self.workspace or workspace).verdicts
        bound: PersistentJudge = cached_judge(self.client, store, judge_options(**self.options))
        return bound

    def _bound(self) -> PersistentJudge:
        return self.bind(open_workspace(RUNS))

    @property
    def model(self) -> str:
        """The model that is asked for."""
        return self._bound().model

    def judge(
        self,
        requests: Sequence[JudgeRequest],
        parser: VerdictParser,
        advance: Advance = lambda _: None,
    ) -> list[Verdict]:
        """Return one verdict a request, in order; cached ones are not asked for again.

        Raises:
            JudgeError: the judge cannot be reached, or refuses.
            StoreError: the verdict store cannot be used.
        """
        return self._bound().judge(requests, parser, advance)

    def count_pending(self, requests: Sequence[JudgeRequest], parser: VerdictParser) -> int:
        """Return how many of the requests have no cached verdict."""
        return self._bound().count_pending(requests, parser)

    def estimate_cost(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser
    ) -> CostEstimate:
        """Return what the pending requests are expected to cost."""
        return self._bound().estimate_cost(requests, parser)

    def usage(self, requests: Sequence[JudgeRequest], parser: VerdictParser) -> Usage:
        """Return what the verdicts on the requests have cost so far."""
        return self._bound().usage(requests, parser)

    def request_settings(self, request: JudgeRequest) -> Mapping[str, Any]:
        """Return the settings of a request besides its text."""
        return self._bound().request_settings(request)


def judge(
    source: Source,
    *,
    budget: float | None = None,
    price: str | None = None,
    base_url: str | None = None,
    accept_models: Sequence[str] = (),
    batch: bool = False,
    resume: bool = False,
    retry_missing: bool = False,
    overrides: Overrides = (),
    workspace: str | Path | Workspace | None = None,
) -> ConfiguredJudge:
    """Return a judge that caches its verdicts.

    Args:
        source: a name of configs/judge, a YAML file, a mapping, or a client that is built.
        budget: the most that may be spent, in US dollars.
        price: `IN,OUT`: what the judge costs, in US dollars per million prompt and reply tokens;
            needed for a budget where no file lists the judge.
        base_url: where the judge is served, if not at its provider.
        accept_models: models that may answer in the judge's place.
        batch: submit requests through the provider's Batch API.
        resume: wait for what `batch` has submitted, and fetch it.
        retry_missing: ask again what a server refused in an earlier run, or failed at every time.
        overrides: keys of the judge's configuration, e.g. `{"timeout": 300}`.
        workspace: where verdicts are cached; the default is the evaluation's workspace.

    Raises:
        ConfigError: there is no such judge, or a key does not fit.
    """
    from harness.core.config import parse_overrides
    from harness.judges.client import OpenAIClient

    prefixed = {f"judge.{key}": value for key, value in parse_overrides(overrides).items()}
    client = build_component("judge", source, prefixed, {"base_url": base_url})
    if isinstance(client, OpenAIClient):
        client.check_model()
    options = {
        "budget": budget,
        "price": price,
        "accepted": tuple(accept_models),
        "batch": batch,
        "resume": resume,
        "retry_missing": retry_missing,
    }
    return ConfiguredJudge(
        client, options, None if workspace is None else open_workspace(workspace)
    )


def bind_judge(
    source: Source, workspace: Workspace, overrides: Overrides = (), *, retry_missing: bool = False
) -> PersistentJudge:
    """Return a judge with a verdict store, from whatever names or is one; see `judge`.

    Raises:
        ConfigError: there is no such judge, or a key does not fit.
    """
    from harness.protocols import PersistentJudge

    more = {"retry_missing": True} if retry_missing else {}
    match source:
        case ConfiguredJudge():
            return replace(source, options={**source.options, **more}).bind(workspace)
        case PersistentJudge():
            return source
    return ConfiguredJudge(build_component("judge", source, overrides), more).bind(workspace)
