"""Loads and saves weights and tokenizers, and renders conversations.

Weights are read from safetensors only, and code from a hub is never run.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.chat_templates import check_template, read_template, with_arguments
from harness.core.hardware import ModelShape
from harness.core.lean_transformers import import_generation
from harness.core.portable_models import make_portable
from harness.core.terminal import shorten
from harness.errors import ConfigError, PolicyError, first_line
from harness.types import Message, Policy

if TYPE_CHECKING:
    import torch
    from tiktoken import Encoding
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

NO_REMOTE_CODE = {"trust_remote_code": False}
"""Passed to whatever loads from a folder or a hub: left out, transformers asks at the terminal."""
ASSETS_VARIABLE = "HARNESS_ASSETS"
"""Environment variable: the directory with the protocol data."""
TIKTOKEN_VARIABLE = "TIKTOKEN_CACHE_DIR"
GENERATION_CONFIG = "generation_config.json"
_PROBE_ANSWER = "answer"
ABBREVIATED = re.compile(r"[0-9a-f]{7,39}")
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
    """Return the policy's tokenizer, with the chat template and arguments that the policy names.

    Raises:
        PolicyError: there is no tokenizer, or it has no chat template, or one that reads the date
            or never reads an argument; or it lacks one of the policy's end tokens.
    """
    return _load_tokenizer(replace(policy, name=""))


@lru_cache(maxsize=8)
def _load_tokenizer(policy: Policy) -> PreTrainedTokenizerBase:
    import_generation()
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
    owner = policy.chat_template or policy.path
    check_template(tokenizer.chat_template, owner)
    tokenizer.chat_template = with_arguments(
        tokenizer.chat_template, policy.template_arguments, owner
    )
    named_end_token_ids(tokenizer, policy)
    return tokenizer


def load_model(policy: Policy, dtype: torch.dtype, device: str) -> PreTrainedModel:
    """Return the policy's model in evaluation mode.

    Raises:
        PolicyError: the path holds no causal language model in safetensors, or a tensor of it is
            missing.
    """
    import_generation()
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as reports

    check_policy_path(policy)
    reports.disable_progress_bar()  # the library's own bars would break ours
    try:
        with suppress_loading_report():
            model, report = AutoModelForCausalLM.from_pretrained(
                policy.path,
                revision=policy.revision,
                dtype=dtype,
                use_safetensors=True,
                output_loading_info=True,
                **NO_REMOTE_CODE,
            )
    except (*LOAD_ERRORS, SafetensorError) as error:
        raise PolicyError(f"no model in {policy.path}: {first_line(error)}") from error
    check_complete(policy, report["missing_keys"], report["unexpected_keys"])
    loaded: PreTrainedModel = model.to(device).eval()
    return loaded


@contextmanager
def suppress_loading_report() -> Iterator[None]:
    """Silence transformers' report on missing and unexpected tensors, which is handled here."""
    from transformers.utils import logging as reports

    verbosity = reports.get_verbosity()
    reports.set_verbosity_error()
    try:
        yield
    finally:
        reports.set_verbosity(verbosity)


def check_complete(policy: Policy, missing: Iterable[str], unexpected: Iterable[str]) -> None:
    """Refuse weights that lack a tensor, which transformers would fill with random numbers.

    Raises:
        PolicyError: they do.
    """
    names, others = sorted(missing), sorted(unexpected)
    if names:
        shown = f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        hint = f" but holds {', '.join(others[:2])}, ..." if others else ""
        raise PolicyError(
            f"the weights of {policy.path} lack {len(names)} of the model's tensors ({shown}){hint}"
            ": save the whole model under the names of its architecture, with adapters merged"
        )


def uninitialized_model(policy: Policy) -> PreTrainedModel:
    """Return a float32 model of the policy's architecture with uninitialized weights.

    The weights take no memory until they are written.

    Raises:
        PolicyError: the path holds no causal language model.
    """
    import_generation()
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
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    directory: Path,
    start: Policy | None = None,
) -> None:
    """Write a policy in the Hugging Face layout that transformers 4.5x and 5 read alike.

    Weights are safetensors. A generation config that transformers refuses to save never costs the
    weights: the file of the policy that training started from is copied as it is, but for the end
    tokens that the policy names.

    Args:
        model: the weights.
        tokenizer: with the chat template in use.
        directory: where they are written.
        start: the policy whose generation config is kept.

    Raises:
        OSError: the disk is full or read-only.
    """
    from safetensors import SafetensorError
    from transformers.utils import logging as reports

    reports.disable_progress_bar()
    generation = getattr(model, "generation_config", None)
    model.generation_config = savable_generation_config(model)
    try:
        model.save_pretrained(directory)
    except SafetensorError as error:  # it gives the number of a full disk in its text only
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error)) from error
    finally:
        model.generation_config = generation
    tokenizer.save_pretrained(directory)
    if start and (generation_file := _generation_file(start)):
        shutil.copyfile(generation_file, directory / GENERATION_CONFIG)
    if start and start.end_tokens:
        _store_end_tokens(directory / GENERATION_CONFIG, end_token_ids(tokenizer, start))
    make_portable(directory)


def _store_end_tokens(path: Path, ids: Sequence[int]) -> None:
    """Have a generation config name the tokens that end a turn."""
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps({**config, "eos_token_id": list(ids)}, indent=2) + "\n", "utf-8")


def savable_generation_config(model: PreTrainedModel) -> GenerationConfig | None:
    """Return a model's generation config; only its special tokens if it cannot be saved."""
    from transformers import GenerationConfig

    config = getattr(model, "generation_config", None)
    try:
        if config is not None:
            config.validate(strict=True)
    except ValueError as error:
        logging.getLogger(__name__).warning(
            "the generation config cannot be saved (%s): only its special tokens are kept, or the "
            "start's file as it is",
            first_line(error),
        )
        names = ("bos_token_id", "eos_token_id", "pad_token_id")
        return GenerationConfig(**{name: getattr(config, name, None) for name in names})
    return config


def _generation_file(policy: Policy) -> str | None:
    """Return a policy's file of the generation config; None: it has none."""
    from transformers.utils import cached_file

    path: str | None = cached_file(
        policy.path,
        GENERATION_CONFIG,
        revision=policy.revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return path


def whole_commit(dataset: str, revision: str) -> str:
    """Return the 40 digits of a dataset's abbreviated commit, of which the hub knows nothing.

    Any other revision, and one that cannot be looked up, is returned as it is.

    Raises:
        ConfigError: the dataset has no such commit, or several begin so.
    """
    if not ABBREVIATED.fullmatch(revision) or Path(dataset).exists():
        return revision
    import httpx
    from huggingface_hub import HfApi

    try:
        commits = HfApi().list_repo_commits(dataset, repo_type="dataset")
    except (*LOAD_ERRORS, httpx.HTTPError):
        return revision
    matching = [c.commit_id for c in commits if c.commit_id.startswith(revision)]
    if len(matching) != 1:
        count = "no commit begins" if not matching else f"{len(matching)} commits begin"
        raise ConfigError(
            f"{dataset}: {count} with {revision}: name one with --set prompts.revision"
        )
    return matching[0]


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
    """Render a conversation up to the beginning of the assistant's next turn.

    Raises:
        PolicyError: the chat template refuses the conversation: a role that it does not know, say.
    """
    from jinja2 import TemplateError

    turns = [message.as_dict() for message in messages]
    try:
        text = str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        roles = ", ".join(message.role for message in messages)
        raise PolicyError(
            f"the chat template refuses a conversation of the roles {roles} "
            f"({first_line(error)}): change the prompts, or name another template with "
            "--set policy.chat_template=FILE"
        ) from error
    ids: Any = tokenizer(text, add_special_tokens=False)["input_ids"]
    return RenderedConversation(tuple(ids), text)


def render_answer(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], answer: str
) -> str:
    """Render a conversation with the assistant's answer and the end of its turn.

    Raises:
        PolicyError: the chat template refuses the conversation.
    """
    from jinja2 import TemplateError

    turns = [message.as_dict() for message in (*messages, Message("assistant", answer))]
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False))
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        raise PolicyError(f"the chat template refuses an answer ({first_line(error)})") from error


def end_token_ids(tokenizer: PreTrainedTokenizerBase, policy: Policy) -> tuple[int, ...]:
    """Return the tokens that end a turn.

    They are the tokenizer's, those of the generation config or, without one, of the model's
    configuration, the special token with which the chat template ends an assistant's turn, and
    those that the policy names.

    Raises:
        PolicyError: the vocabulary lacks a token that the policy names.
    """
    ids = {tokenizer.eos_token_id, template_end_token_id(tokenizer)}
    configured = _configured_end(policy)
    ids |= set(configured) if isinstance(configured, list | tuple) else {configured}
    ids |= set(named_end_token_ids(tokenizer, policy))
    return tuple(sorted(token for token in ids if token is not None))


def named_end_token_ids(tokenizer: PreTrainedTokenizerBase, policy: Policy) -> list[int]:
    """Return the ids of the end tokens that a policy names.

    Raises:
        PolicyError: the vocabulary lacks one of them.
    """
    if not policy.end_tokens:
        return []
    vocabulary = tokenizer.get_vocab()
    if unknown := [token for token in policy.end_tokens if token not in vocabulary]:
        by_id = {index: token for token, index in vocabulary.items()}
        special = ", ".join(by_id[i] for i in sorted(_special_ids(tokenizer)) if i in by_id)
        raise PolicyError(
            f"policy.end_tokens: the tokenizer of {policy.path} has no token "
            f"{', '.join(map(repr, unknown))}; its special tokens are {shorten(special)}"
        )
    return [vocabulary[token] for token in policy.end_tokens]


def _configured_end(policy: Policy) -> Any:
    from transformers import AutoConfig, GenerationConfig

    path, revision = policy.path, policy.revision
    try:
        return GenerationConfig.from_pretrained(path, revision=revision).eos_token_id
    except OSError:
        pass
    try:
        config = AutoConfig.from_pretrained(path, revision=revision, **NO_REMOTE_CODE)
    except LOAD_ERRORS:
        return None
    return getattr(config.get_text_config(), "eos_token_id", None)


def template_end_token_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the special token that the chat template puts right after an assistant's answer.

    None: what follows an answer there is no special token, or the template cannot be rendered.
    """
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _PROBE_ANSWER}]
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    except Exception:  # noqa: BLE001  a template is anybody's program
        return None
    tail = text.rpartition(_PROBE_ANSWER)[2].lstrip()
    ids: Any = tokenizer(tail, add_special_tokens=False)["input_ids"] if tail else []
    is_end = bool(ids) and ids[0] in _special_ids(tokenizer) - {tokenizer.bos_token_id}
    return ids[0] if is_end else None


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    added = {token for token, entry in tokenizer.added_tokens_decoder.items() if entry.special}
    return added | set(tokenizer.all_special_ids)
