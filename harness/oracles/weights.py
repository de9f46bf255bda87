"""Weights of oracles: models with a head of their own, whose every tensor must be in the file.

transformers gives a head that it does not find random numbers and a line in the log; an oracle that
labels at random is worse than none, so here it is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, PrivateAttr

from harness.core.config import Component
from harness.core.hardware import ModelShape, default_device
from harness.core.hub import LOAD_ERRORS, check_policy_path
from harness.core.io import directory_digest
from harness.errors import PolicyError, first_line
from harness.types import Policy

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

Loaded = TypeVar("Loaded")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


class OracleWeights(Component):
    """Weights that an oracle is made of: a folder in the Hugging Face layout, or a hub id."""

    name: str
    path: str
    revision: str | None = None
    """A commit; without one a hub id means whatever its main branch holds today."""
    shape: ModelShape | None = Field(default=None, exclude=True)
    """How large the model is, for estimates."""
    _keeps_loaded: bool = PrivateAttr(default=False)
    _cached: Any = PrivateAttr(default=None)

    def fingerprint(self) -> str | None:
        """Return a folder's content digest; None for a hub id, which its revision identifies."""
        return directory_digest(Path(self.path)) if Path(self.path).is_dir() else None

    def sizes(self) -> ModelShape | None:
        """Return the model's sizes, where the configuration tells."""
        return self.shape

    def policy(self) -> Policy:
        """Return the weights' name, as loaders take it."""
        return Policy(self.name, self.path, self.revision)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what is loaded from one question to the next, until the context is left."""
        self._keeps_loaded = True
        try:
            yield
        finally:
            self._keeps_loaded, self._cached = False, None

    def load_cached(self, load: Callable[[Policy], Loaded]) -> Loaded:
        """Return what `load` makes of the weights; where they are kept, what it made before."""
        loaded: Loaded = load(self.policy()) if self._cached is None else self._cached
        if self._keeps_loaded:
            self._cached = loaded
        return loaded


def load_with_head(policy: Policy, class_name: str, dtype: str) -> PreTrainedModel:
    """Return a model of transformers' class `kind` in evaluation mode, where tensors go.

    Raises:
        PolicyError: the path holds no such model, or a tensor of it is missing.
    """
    import torch
    import transformers
    from safetensors import SafetensorError

    check_policy_path(policy)
    try:
        with suppress_loading_report():
            model, loading_info = getattr(transformers, class_name).from_pretrained(
                policy.path,
                revision=policy.revision,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                output_loading_info=True,
            )
    except (*LOAD_ERRORS, SafetensorError) as error:
        raise PolicyError(f"no model in {policy.path}: {first_line(error)}") from error
    require_complete(policy, loading_info["missing_keys"])
    on_device: PreTrainedModel = model.to(default_device()).eval()
    return on_device


@contextmanager
def suppress_loading_report() -> Iterator[None]:
    """Keep transformers from listing what is missing, or more than needed: that is seen to here."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def require_complete(policy: Policy, missing: Any) -> None:
    """Refuse weights in which tensors are missing.

    Raises:
        PolicyError: some are.
    """
    if missing:
        names = ", ".join(sorted(missing)[:3])
        raise PolicyError(
            f"{policy.path} lacks {names}{', ...' if len(missing) > 3 else ''}: "
            "not an oracle of this kind; look at the `use` of its configuration"
        )


def load_tensors(policy: Policy, prefix: str = "") -> dict[str, Tensor]:
    """Return those tensors of a folder's or a hub id's safetensors whose names begin so.

    Raises:
        PolicyError: there are no safetensors.
    """
    from safetensors import SafetensorError, safe_open

    check_policy_path(policy)
    loaded: dict[str, Tensor] = {}
    try:
        for path in _weight_files(policy):
            with safe_open(path, "pt") as file:
                names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
                loaded |= {name: file.get_tensor(name) for name in names}
    except (*LOAD_ERRORS, SafetensorError) as error:
        raise PolicyError(f"no safetensors in {policy.path}: {first_line(error)}") from error
    return loaded


def _weight_files(policy: Policy) -> list[str]:
    from transformers.utils import cached_file

    def fetch(name: str, **settings: Any) -> Any:
        return cached_file(policy.path, name, revision=policy.revision, **settings)

    index = fetch(INDEX, _raise_exceptions_for_missing_entries=False)
    if index is None:
        return [fetch(WEIGHTS)]
    with open(index, encoding="utf-8") as file:
        return [fetch(name) for name in sorted(set(json.load(file)["weight_map"].values()))]
