"""Weights of oracles: models with a head of their own, whose tensors must all be in the file.

transformers initialises a missing head at random and only logs a warning. An oracle that labels at
random is worse than none, so a missing tensor is an error here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, PrivateAttr

from harness.core.config import Component, HomePath
from harness.core.hardware import ModelShape, default_device
from harness.core.hub import (
    LOAD_ERRORS,
    NO_REMOTE_CODE,
    check_policy_path,
    suppress_loading_report,
)
from harness.core.lean_transformers import import_generation
from harness.core.model_files import model_digest
from harness.errors import PolicyError, first_line
from harness.types import Message, Policy

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Loaded = TypeVar("Loaded")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


class OracleWeights(Component):
    """An oracle's weights: a directory in the Hugging Face layout, or a hub id."""

    name: str
    path: HomePath
    revision: str | None = None
    """A commit; without one a hub id means the current head of its main branch."""
    shape: ModelShape | None = Field(default=None, exclude=True)
    """The model's dimensions, for estimates."""
    _keeps_loaded: bool = PrivateAttr(default=False)
    _cached: Any = PrivateAttr(default=None)

    def fingerprint(self) -> dict[str, str] | None:
        """Return a directory's content digest; None for a hub id, which its revision identifies."""
        folder = Path(self.path)
        return {"path": model_digest(folder)} if folder.is_dir() else None

    def sizes(self) -> ModelShape | None:
        """Return the model's dimensions, if the configuration has them."""
        return self.shape

    def policy(self) -> Policy:
        """Return the weights as a policy, for the loaders."""
        return Policy(self.name, self.path, self.revision)

    @contextmanager
    def keep_loaded(self) -> Iterator[None]:
        """Keep the loaded model between calls, until the context exits."""
        self._keeps_loaded = True
        try:
            yield
        finally:
            self._keeps_loaded, self._cached = False, None

    def load_cached(self, load: Callable[[Policy], Loaded]) -> Loaded:
        """Return `load(policy)`, or its earlier result inside `kept()`."""
        loaded: Loaded = load(self.policy()) if self._cached is None else self._cached
        if self._keeps_loaded:
            self._cached = loaded
        return loaded


def load_with_head(policy: Policy, class_name: str, dtype: str) -> PreTrainedModel:
    """Return a model of transformers' class `class_name` in evaluation mode, on the default device.

    Raises:
        PolicyError: the path holds no such model, or a tensor of it is missing.
    """
    import_generation()
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
                **NO_REMOTE_CODE,
            )
    except (*LOAD_ERRORS, SafetensorError) as error:
        raise PolicyError(f"no model in {policy.path}: {first_line(error)}") from error
    require_complete(policy, loading_info["missing_keys"])
    on_device: PreTrainedModel = model.to(default_device()).eval()
    return on_device


def require_complete(policy: Policy, missing: Any) -> None:
    """Check that no tensor is missing.

    Raises:
        PolicyError: one is.
    """
    if missing:
        names = ", ".join(sorted(missing)[:3])
        raise PolicyError(
            f"{policy.path} lacks {names}{', ...' if len(missing) > 3 else ''}: "
            "not an oracle of this kind; look at the `use` of its configuration"
        )


def check_tokens(model: PreTrainedModel, rows: Iterable[Sequence[int]]) -> None:
    """Check that every token has a row in a model's embeddings.

    Raises:
        PolicyError: the tokenizer has more tokens than the weights.
    """
    count = len(model.get_input_embeddings().weight)
    beyond = max((token for row in rows for token in row), default=0)
    if beyond >= count:
        raise PolicyError(
            f"the tokenizer of {model.config.name_or_path} uses token {beyond}, and the weights "
            f"have {count} embedding rows: take the tokenizer that belongs to the weights"
        )


def render_turns(tokenizer: PreTrainedTokenizerBase, messages: Iterable[Message]) -> str:
    """Render a conversation in a tokenizer's template, without the start of a reply.

    Raises:
        PolicyError: the chat template refuses it: a role that it does not know, say.
    """
    from jinja2 import TemplateError

    turns = [message.as_dict() for message in messages]
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False))
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        raise PolicyError(
            f"the chat template of {tokenizer.name_or_path} refuses a conversation of the roles "
            f"{', '.join(turn['role'] for turn in turns)} ({first_line(error)}): use another "
            "oracle, or train on prompts that its template takes"
        ) from error


def load_tensors(policy: Policy, prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors, from safetensors files, whose names start with `prefix`.

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
