"""Loads and saves weights and tokenizers, and renders conversations.

Weights are read from safetensors only, and code from a hub is never run.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.chat_templates import check_template, read_template
from harness.core.hardware import ModelShape
from harness.errors import PolicyError, first_line
from harness.types import Message, Policy

if TYPE_CHECKING:
    import torch
    from tiktoken import Encoding
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NO_REMOTE_CODE = {"trust_remote_code": False}
"""Passed to whatever loads from a folder or a hub: left out, transformers asks at the terminal."""
ASSETS_VARIABLE = "HARNESS_ASSETS"
"""Environment variable: the directory with the protocol data."""
TIKTOKEN_VARIABLE = "TIKTOKEN_CACHE_DIR"
LOAD_ERRORS = (OSError, ValueError, KeyError, ImportError, RuntimeError, json.JSONDecodeError)


@dataclass(frozen=True)
class RenderedConversation:
    """A conversation in the policy's chat template."""

    token_ids: tuple[int, ...]
    text: str


def assets_directory(configured: Path | None = None) -> Path:
    """Return the directory with the protocol data.

    `configured` if it is given, else HARNESS_ASSETS, else the user's cache directory.
    """
    if directory := configured or os.environ.get(ASSETS_VARIABLE):
        return Path(directory)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "preference-harness" / "assets"


def tiktoken_encoding(name: str, assets: Path) -> Encoding:
    """Return a tiktoken encoding, from `assets/tiktoken` where that directory exists.

    Raises:
        OSError: the encoding's file is not cached and cannot be downloaded.
        ValueError: tiktoken has no such encoding.
    """
    import tiktoken

    use_tokenizers(assets)
    return tiktoken.get_encoding(name)


def use_tokenizers(assets: Path) -> None:
    """Have tiktoken read its encodings from `assets/tiktoken`, unless it has another cache."""
    if (cache := assets / "tiktoken").is_dir():
        os.environ.setdefault(TIKTOKEN_VARIABLE, str(cache))


def load_tokenizer(policy: Policy) -> PreTrainedTokenizerBase:
    """Return the policy's tokenizer, with the chat template that the policy names.

    Raises:
        PolicyError: there is no tokenizer, or it has no chat template, or one that reads the date.
    """
    return _load_tokenizer(replace(policy, name=""))


@lru_cache(maxsize=8)
def _load_tokenizer(policy: Policy) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    check_policy_path(policy)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            policy.path, revision=policy.revision, **NO_REMOTE_CODE
        )
    except LOAD_ERRORS as error:
        raise PolicyError(f"no tokenizer in {policy.path}: {first_line(error)}") from error
    if policy.chat_template:
        tokenizer.chat_template = read_template(policy.chat_template)
    if not tokenizer.chat_template:
        raise PolicyError(
            f"the tokenizer of {policy.path} has no chat template; "
            "name a Jinja file with --set policy.chat_template=FILE"
        )
    check_template(tokenizer.chat_template, policy.chat_template or policy.path)
    return tokenizer


def load_model(policy: Policy, dtype: torch.dtype, device: str) -> PreTrainedModel:
    """Return the policy's model in evaluation mode.

    Raises:
        PolicyError: the path holds no causal language model in safetensors.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    check_policy_path(policy)
    logging.disable_progress_bar()  # the library's own bars would break ours
    try:
        model = AutoModelForCausalLM.from_pretrained(
            policy.path,
            revision=policy.revision,
            dtype=dtype,
            use_safetensors=True,
            **NO_REMOTE_CODE,
        )
    except (*LOAD_ERRORS, SafetensorError) as error:
        raise PolicyError(f"no model in {policy.path}: {first_line(error)}") from error
    loaded: PreTrainedModel = model.to(device).eval()
    return loaded


def uninitialized_model(policy: Policy) -> PreTrainedModel:
    """Return a float32 model of the policy's architecture with uninitialized weights.

    The weights take no memory until they are written.

    Raises:
        PolicyError: the path holds no causal language model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    check_policy_path(policy)
    try:
        config = AutoConfig.from_pretrained(policy.path, revision=policy.revision, **NO_REMOTE_CODE)
        with no_init_weights():
            model: PreTrainedModel = AutoModelForCausalLM.from_config(
                config, dtype=torch.float32, **NO_REMOTE_CODE
            )
    except LOAD_ERRORS as error:
        raise PolicyError(f"no model in {policy.path}: {first_line(error)}") from error
    model.tie_weights()
    return model.eval()


def save_policy(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, directory: Path
) -> None:
    """Write a policy in the Hugging Face layout, weights as safetensors.

    Raises:
        OSError: the disk is full or read-only.
    """
    from safetensors import SafetensorError
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model.save_pretrained(directory)
    except SafetensorError as error:  # it gives the number of a full disk in its text only
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error)) from error
    tokenizer.save_pretrained(directory)


def check_policy_path(policy: Policy) -> None:
    """Check that a policy's path, if it is a directory, holds a model.

    Raises:
        PolicyError: it does not, or a local path does not exist.
    """
    directory = Path(policy.path)
    if directory.is_dir() and not (directory / "config.json").is_file():
        raise PolicyError(
            f"{policy.path} holds no model: it has no config.json; "
            "name a directory in the Hugging Face layout or a hub id"
        )
    looks_local = policy.path.startswith((".", "/", "~")) or policy.path.count("/") > 1
    if looks_local and not directory.is_dir():
        raise PolicyError(
            f"{policy.path} does not exist; name a directory with a model or a hub id"
        )


def configured_context_length(policy: Policy) -> int | None:
    """Return the context length in the policy's configuration, in tokens; None if it has none.

    Raises:
        PolicyError: there is no configuration.
    """
    from transformers import AutoConfig

    check_policy_path(policy)
    try:
        config = AutoConfig.from_pretrained(policy.path, revision=policy.revision, **NO_REMOTE_CODE)
    except (OSError, ValueError, KeyError) as error:
        raise PolicyError(f"no model in {policy.path}: {first_line(error)}") from error
    length: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    return length


def configured_shape(policy: Policy, *, download: bool = False) -> ModelShape | None:
    """Return the sizes in a policy's own `config.json`: of a folder, of the cache, or of the hub.

    None: there is no such file, or the model is a mixture of experts, whose sizes are others.

    Args:
        policy: a folder, or a hub id.
        download: whether the hub is asked where the cache has nothing.
    """
    from transformers import AutoConfig

    for offline in (True, False) if download else (True,):
        try:
            config = AutoConfig.from_pretrained(
                policy.path, revision=policy.revision, local_files_only=offline, **NO_REMOTE_CODE
            ).get_text_config()
        except LOAD_ERRORS:
            continue
        return _shape(config)
    return None


def _shape(config: Any) -> ModelShape | None:
    """Return a configuration's sizes under the names that transformers maps to any architecture."""
    experts = ("num_local_experts", "num_experts", "n_routed_experts")
    if any((getattr(config, name, None) or 0) > 1 for name in experts):
        return None
    hidden, heads = config.hidden_size, config.num_attention_heads
    widths = (getattr(config, n, None) for n in ("intermediate_size", "ffn_dim", "n_inner"))
    return ModelShape(
        layers=config.num_hidden_layers,
        hidden=hidden,
        intermediate=next((width for width in widths if width), 4 * hidden),
        heads=heads,
        key_value_heads=getattr(config, "num_key_value_heads", None) or heads,
        vocabulary=config.vocab_size,
        head_size=getattr(config, "head_dim", None),
        tied=bool(getattr(config, "tie_word_embeddings", False)),
    )


def render_conversation(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]
) -> RenderedConversation:
    """Render a conversation up to the beginning of the assistant's next turn."""
    turns = [message.as_dict() for message in messages]
    text = str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))
    ids: Any = tokenizer(text, add_special_tokens=False)["input_ids"]
    return RenderedConversation(tuple(ids), text)


def end_token_ids(tokenizer: PreTrainedTokenizerBase, model_path: str) -> tuple[int, ...]:
    """Return the tokens that end a turn, of the tokenizer and of the generation config."""
    from transformers import GenerationConfig

    ids = {tokenizer.eos_token_id}
    try:
        configured = GenerationConfig.from_pretrained(model_path).eos_token_id
    except OSError:
        configured = None
    ids |= set(configured) if isinstance(configured, list) else {configured}
    return tuple(sorted(token for token in ids if token is not None))
