"""Rows: the figures and facts of one contestant on one benchmark under one judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core.hardware import CPU
from harness.types import Estimate


@dataclass(frozen=True, slots=True)
class Document:
    """The source of a published figure."""

    name: str
    """An arXiv id, or a repository."""
    version: str
    table: str
    accessed: str
    """The date on which the figure was copied."""

    @property
    def citation(self) -> str:
        """The source in one phrase."""
        table = f"table {self.table}" if self.table.isdigit() else self.table
        return f"{self.name} ({self.version}), {table}, read {self.accessed}"


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant on one benchmark under one judge, measured here or published elsewhere."""

    label: str
    """The method, or the policy's name."""
    benchmark: str
    judge: str
    """The model that the judge's server reports; empty without a judge."""
    estimates: Mapping[str, Estimate]
    """By metric; win rates in percent."""
    prompt_count: int | None
    """Prompts of the benchmark, those without an answer included; None where not known."""
    judged_count: int | None
    mean_length: float | None
    """Characters an answer; None where not known."""
    source: str
    """The result's file, from the results' folder on, or the document."""
    baseline: str = ""
    """The contestant that the answers were compared with; empty without one or where not known."""
    protocol: str = ""
    """A digest of the protocol's texts; empty where not known."""
    scoring: str = ""
    """`upstream` where the figures have the quirks of the published code."""
    tokens: float | None = None
    """Tokens an answer, by the benchmark's own tokenizer or else the policy's."""
    truncated: float | None = None
    """The share of answers that ended at the token limit."""
    dollars: float | None = None
    """What the verdicts have cost; None where no price is known."""
    hours: Mapping[str, float] | None = None
    """Of training and answering, by device: an accelerator's name, or `CPU` (see
    `harness.core.hours`); None where they are not known."""
    base: str = ""
    """The policy that training began with; empty where not known."""
    method: str = ""
    iteration: int | None = None
    run: str = ""
    """The run that trained the policy; empty for external answers."""
    seed: int | None = None
    """The run's seed; None where not known."""
    setting: str = ""
    """A digest of the run's configuration without its seed; empty where not known."""
    repeats: tuple[Row, ...] = ()
    """The rows of several seeds that this row is the mean of; empty for a single run."""
    judge_settings: Mapping[str, Any] = field(default_factory=dict)
    """The judge's sampling settings; empty where not known."""
    identity: Mapping[str, Any] = field(default_factory=dict)
    """The result's identity; of an older result what it tells of it."""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    """The run's settings by dotted key; empty where not known."""
    shared_label: str = ""
    """The result's own label, where others have it too; empty where it is `label`."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the packages, and the `commit` where a checkout was run."""
    notes: tuple[str, ...] = ()
    items: Path | None = None
    """The file of per-prompt values; None where there is none."""
    document: Document | None = None
    """The source of a published row; None for a measured one."""
    measured_as: str = ""
    """For a published row: the label of its method's measured rows."""
    digits: Mapping[str, int] = field(default_factory=dict)
    """Decimals by metric, as a document prints them."""

    @property
    def seeds(self) -> list[int]:
        """The known seeds of the row's runs."""
        return [row.seed for row in self.repeats or (self,) if row.seed is not None]

    @property
    def gpu_hours(self) -> float | None:
        """Hours of all accelerators; None where none was used, or where they are not known."""
        accelerator_hours = [hours for kind, hours in (self.hours or {}).items() if kind != CPU]
        return sum(accelerator_hours) if accelerator_hours else None

    @property
    def cpu_hours(self) -> float | None:
        """Hours without an accelerator; None where they are not known."""
        return None if self.hours is None else self.hours.get(CPU, 0.0)
