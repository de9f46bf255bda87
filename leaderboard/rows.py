"""Rows: what is known of one contestant on one benchmark under one judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core.hardware import CPU
from harness.types import Estimate


@dataclass(frozen=True, slots=True)
class Document:
    """Where a published figure stands."""

    name: str
    """An arXiv id, or a repository."""
    version: str
    table: str
    accessed: str
    """The day on which the figure was taken from it."""

    @property
    def citation(self) -> str:
        """Name the place in one phrase."""
        table = f"table {self.table}" if self.table.isdigit() else self.table
        return f"{self.name} ({self.version}), {table}, read {self.accessed}"


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant on one benchmark under one judge, measured here or published elsewhere."""

    label: str
    """The method, or the policy's name."""
    benchmark: str
    judge: str
    """The model that the judge's server says it served; empty where nobody judges."""
    estimates: Mapping[str, Estimate]
    """By metric; win rates in percent."""
    prompt_count: int | None
    """Prompts of the benchmark, those without an answer included; None where not told."""
    judged_count: int | None
    mean_length: float | None
    """Characters an answer; None where not known."""
    source: str
    """The result's file, from the results' folder on, or the document."""
    baseline: str = ""
    """Whom the answers were compared with; empty where nobody or not told."""
    protocol: str = ""
    """A digest of the protocol's texts; empty where not told."""
    scoring: str = ""
    """`upstream` where the figures were made with the published code's quirks."""
    tokens: float | None = None
    """Tokens an answer, by the benchmark's own tokenizer or else the policy's."""
    truncated: float | None = None
    """The share of answers that ended at the token limit."""
    dollars: float | None = None
    """What the verdicts have cost; None where no price is known."""
    hours: Mapping[str, float] | None = None
    """Of training and answering, by what was computed on: an accelerator's name, or `processor`
    (see `harness.core.hours`); None where that is not known."""
    base: str = ""
    """The policy that training began with; empty where not known."""
    method: str = ""
    iteration: int | None = None
    run: str = ""
    """The run that made the policy; empty for answers from elsewhere."""
    seed: int | None = None
    """The run's; None where not known."""
    setting: str = ""
    """A digest of the run's configuration without its seed; empty where not known."""
    repeats: tuple[Row, ...] = ()
    """The rows of several seeds that this one is the mean of; none where it is one itself."""
    judge_settings: Mapping[str, Any] = field(default_factory=dict)
    """What the judge was asked with besides the texts; empty where not told."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the packages, and the `commit` where a checkout was run."""
    notes: tuple[str, ...] = ()
    items: Path | None = None
    """The file with one row a prompt; None where there is none."""
    document: Document | None = None
    """None for what was measured here."""
    measured_as: str = ""
    """For a published row: what its method's measured row is called here."""
    digits: Mapping[str, int] = field(default_factory=dict)
    """Decimals by metric, where a document has printed them."""

    @property
    def gpu_hours(self) -> float | None:
        """Hours of all accelerators; None where none was used, or that is not known."""
        accelerator_hours = [hours for kind, hours in (self.hours or {}).items() if kind != CPU]
        return sum(accelerator_hours) if accelerator_hours else None

    @property
    def cpu_hours(self) -> float | None:
        """Hours of what took no accelerator; None where that is not known."""
        return None if self.hours is None else self.hours.get(CPU, 0.0)
