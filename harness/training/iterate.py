"""The schedule: sample → compare → pair → anchor → optimise, T times, as stages of the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.config import identity
from harness.runs import Node, Stage
from harness.training import steps
from harness.training.optimise import optimise
from harness.training.spec import TrainSpec
from harness.types import Make

VERSIONS = {"prompts": 1, "generate": 1, "compare": 1, "pair": 1, "anchor": 1, "optimise": 1}
"""Raised when a stage would now give another result from the same inputs."""


@dataclass(frozen=True)
class Schedule:
    """Builds the stages of a method; building makes nothing."""

    spec: TrainSpec

    def policies(self) -> list[Node]:
        """Return π_1 … π_{T+1}: what training starts from, and what every iteration makes."""
        found = [self.spec.policy.weights()]
        for t in range(1, self.spec.iterations + 1):
            found.append(self._iteration(t, found))
        return found

    def _iteration(self, t: int, policies: list[Node]) -> Stage:
        spec, previous = self.spec, policies[-1]
        reference = policies[0] if spec.reference == "initial" else previous
        prompts = self._stage("prompts", t, {"prompts": spec.prompts, "t": t}, {})
        sampled: dict[str, Any] = {"engine": spec.engine, "sampling": spec.sampling}
        sampled |= {"samples": spec.samples, "seed": spec.seed, "t": t}
        inputs: dict[str, Node] = {"policy": previous, "prompts": prompts}
        size = f"{self._prompts()} × {spec.samples} responses"
        generate = self._stage("generate", t, sampled, inputs, size)
        asked = {"oracle": spec.oracle, "pairing": spec.pairing}
        played: dict[str, Node] = {"prompts": prompts, "generate": generate}
        compare = self._stage("compare", t, asked, played, self._prompts())
        kept = {"pairing": spec.pairing, "max_length": spec.max_length}
        pair = self._stage("pair", t, kept, {"generate": generate, "compare": compare})
        anchors = {"previous": self._anchor(t, "previous", previous, pair)}
        if "reference" in spec.objective.anchors:
            same = reference is previous
            anchors["reference"] = (
                anchors["previous"] if same else self._anchor(t, "reference", reference, pair)
            )
        return self._optimise(t, {"policy": previous, "pair": pair, **anchors})

    def _prompts(self) -> str:
        count = self.spec.prompts.count
        return f"{count} prompts" if count is not None else "all prompts of the source"

    def _optimise(self, t: int, inputs: dict[str, Node]) -> Stage:
        spec = self.spec
        names = ("objective", "optimiser", "dtype", "tolerance", "seed")
        trained = {name: getattr(spec, name) for name in names}
        size = f"{spec.optimiser.epochs} epochs, {spec.optimiser.batch} pairs a step"
        return self._stage("optimise", t, trained, inputs, size)

    def _anchor(self, t: int, name: str, policy: Node, pair: Stage) -> Stage:
        spec = self.spec
        label = f"{spec.method} · iteration {t} · anchor ({name})"
        make = partial(steps.anchor, spec.policy, spec.dtype, label.partition(" · ")[2])
        config = {"dtype": spec.dtype}
        inputs: dict[str, Node] = {"policy": policy, "pair": pair}
        return Stage("anchor", VERSIONS["anchor"], config, inputs, make, label, device=True)

    def _stage(
        self,
        name: str,
        t: int,
        config: dict[str, Any],
        inputs: dict[str, Node],
        size: str = "",
    ) -> Stage:
        make: Make = partial(MAKERS[name], self.spec, t)
        label = f"{self.spec.method} · iteration {t} · {name}"
        device = name in ("compare", "generate", "optimise")
        return Stage(name, VERSIONS[name], identity(config), inputs, make, label, size, device)


MAKERS: dict[str, Callable[..., None]] = {
    "prompts": steps.choose_prompts,
    "generate": steps.generate,
    "compare": steps.compare,
    "pair": steps.pair,
    "optimise": optimise,
}
