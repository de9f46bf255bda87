"""The schedule: sample → compare → pair → anchor → optimise, T times, as stages of the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.accelerators import taken
from harness.config import identity
from harness.runs import Node, Stage
from harness.training import steps
from harness.training.contest import contest
from harness.training.optimise import optimise
from harness.training.pairing import comparisons
from harness.training.spec import Every, Fit, TrainSpec
from harness.types import Make

VERSIONS = {
    "prompts": 1,
    "generate": 1,
    "compare": 2,
    "pair": 2,
    "anchor": 3,
    "optimise": 3,
    "contest": 1,
}
"""Raised when a stage would now give another result from the same inputs."""


@dataclass(frozen=True)
class Schedule:
    """Builds the stages of a method; building makes nothing."""

    spec: TrainSpec

    def policies(self) -> list[Node]:
        """Return π_1 … π_{T+1}: what training starts from, and what every iteration makes."""
        start = self.spec.policy.weights()
        made: dict[str, list[Node]] = defaultdict(lambda: [start])
        for t in range(1, self.spec.iterations + 1):
            pair = self._pairs(t, made["policy"][-1])
            anchors: dict[Node, Stage] = {}
            for fit in self.spec.fits:
                frozen = self._frozen(t, made[fit.start], made["policy"])
                inputs: dict[str, Node] = {"policy": frozen["previous"], "pair": pair}
                for name, policy in frozen.items():
                    if policy not in anchors:
                        anchors[policy] = self._anchor(t, name, policy, pair)
                    inputs[name] = anchors[policy]
                made[fit.makes].append(self._optimise(t, fit, inputs))
        return made["policy"]

    def contest(self, t: int, made: Node) -> Stage | None:
        """Return the stage in which what iteration t made plays what went before; None: not asked.

        No policy depends on it.
        """
        spec = self.spec
        if t == 0 or not spec.contest_prompts or not isinstance(made, Stage):
            return None
        pair = made.inputs["pair"]
        assert isinstance(pair, Stage)
        generate = pair.inputs["generate"]
        assert isinstance(generate, Stage)
        told: dict[str, Any] = {"engine": spec.engine, "sampling": spec.sampling}
        told |= {"oracle": spec.oracle, "contest": spec.contest_prompts, "seed": spec.seed, "t": t}
        inputs = {"policy": made, "generate": generate, "prompts": generate.inputs["prompts"]}
        size = f"{spec.contest_prompts} × 1 responses and comparisons"
        takes = max(taken(spec.engine), taken(spec.oracle))
        return self._stage("contest", t, told, inputs, size, takes)

    def _pairs(self, t: int, policy: Node) -> Stage:
        spec = self.spec
        prompts = self._stage("prompts", t, {"prompts": spec.prompts, "t": t}, {})
        sampled: dict[str, Any] = {"engine": spec.engine, "sampling": spec.sampling}
        sampled |= {"samples": spec.samples, "seed": spec.seed, "t": t}
        inputs: dict[str, Node] = {"policy": policy, "prompts": prompts}
        size = f"{self._prompts()} × {spec.samples} responses"
        generate = self._stage("generate", t, sampled, inputs, size, taken(spec.engine))
        asked = {"oracle": spec.oracle, "pairing": spec.pairing, "truncated": spec.keep_truncated}
        played: dict[str, Node] = {"prompts": prompts, "generate": generate}
        size = f"{self._prompts()} × {comparisons(spec.pairing, spec.samples)} comparisons"
        compare = self._stage("compare", t, asked, played, size, taken(spec.oracle))
        kept = {"pairing": spec.pairing, "max_length": spec.max_length}
        kept |= {"truncated": spec.keep_truncated}
        if spec.contest_prompts:
            kept |= {"contest": spec.contest_prompts, "seed": spec.seed, "t": t}
        return self._stage("pair", t, kept, {"generate": generate, "compare": compare})

    def _frozen(self, t: int, begun: Sequence[Node], policies: Sequence[Node]) -> dict[str, Node]:
        """Return the anchors of a fit by name: of `begun`, π_1 … π_t, `previous` is the last."""
        found = {"previous": begun[-1]}
        found |= {f"previous-{j}": begun[-j] for j in range(2, len(begun) + 1)}
        match self.spec.reference:
            case "initial":
                found["reference"] = policies[0]
            case "previous":
                found["reference"] = begun[-1]
            case Every(every=m):
                found["reference"] = policies[(t - 1) // m * m]
        read = {"previous", *self.spec.at(t).objective.anchors}
        return {name: policy for name, policy in found.items() if name in read}

    def _prompts(self) -> str:
        count = self.spec.prompts.count
        return f"{count} prompts" if count is not None else "all prompts of the source"

    def _optimise(self, t: int, fit: Fit, inputs: dict[str, Node]) -> Stage:
        spec = self.spec.at(t)
        names = ("objective", "optimiser", "dtype", "tolerance", "seed")
        trained = {name: getattr(spec, name) for name in names}
        size = f"{spec.optimiser.epochs} epochs, {spec.optimiser.batch} pairs a step"
        if len(spec.fits) > 1:
            size += f", makes {fit.makes}"
        takes = spec.optimiser.processes or 1  # where nothing is said, known when it is made
        return self._stage("optimise", t, trained, inputs, size, takes)

    def _anchor(self, t: int, name: str, policy: Node, pair: Stage) -> Stage:
        spec = self.spec
        label = f"{spec.method} · iteration {t} · anchor ({name})"
        make = partial(steps.anchor, spec, label.partition(" · ")[2])
        config = {"dtype": spec.dtype}
        inputs: dict[str, Node] = {"policy": policy, "pair": pair}
        told = (VERSIONS["anchor"], config, inputs, make, label)
        return Stage("anchor", *told, device=True, accelerators=1)

    def _stage(
        self,
        name: str,
        t: int,
        config: dict[str, Any],
        inputs: dict[str, Node],
        size: str = "",
        takes: int = 0,
    ) -> Stage:
        make: Make = partial(MAKERS[name], self.spec.at(t), t)
        label = f"{self.spec.method} · iteration {t} · {name}"
        device = name in ("compare", "contest", "generate", "optimise")
        told = (identity(config), inputs, make, label, size, device, takes)
        return Stage(name, VERSIONS[name], *told)


MAKERS: dict[str, Callable[..., None]] = {
    "prompts": steps.choose_prompts,
    "generate": steps.generate,
    "compare": steps.compare,
    "pair": steps.pair,
    "optimise": optimise,
    "contest": contest,
}
