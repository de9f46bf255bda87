"""A policy as a plain Hugging Face folder that transformers 4.5x and 5 read alike.

Version 5 writes what 4.5x refuses or, worse, passes over: the name of its own tokenizer class, a
list of special tokens under another key, the data type as `dtype`, and the constants of rotary
positions under `rope_parameters`, without which 4.5x takes θ = 10,000. Weights are copied as they
are.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core.lean_transformers import import_generation
from harness.core.manifests import MANIFEST
from harness.errors import PolicyError, first_line

CONFIG, TOKENIZER_CONFIG, CHAT_TEMPLATE = (
    "config.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)
MODEL_SUFFIXES = frozenset({".json", ".safetensors", ".jinja", ".model", ".txt", ".tiktoken"})
"""Of the files of a model; whatever else lies beside them stays behind."""
TOKENIZER_CLASSES = {"TokenizersBackend": "PreTrainedTokenizerFast"}
"""By version 5's name of a tokenizer class: the name that both versions know."""
OWN_KEYS = frozenset({"backend", "is_local", "local_files_only"})
"""Of a tokenizer's configuration: what version 5 notes for itself."""
ROPE, THETA, PARTIAL = "rope_parameters", "rope_theta", "partial_rotary_factor"
ADDED_KEYS = frozenset(
    {THETA, PARTIAL, "rope_scaling", "rope_local_base_freq", "torch_dtype", "_name_or_path"}
)
PROBE = "The quick brown fox; 1,234.5 + 6?"
FULL, SLIDING = "full_attention", "sliding_attention"
"""The kinds of layers that may have rotary constants of their own."""


def copy_policy(source: Path, target: Path) -> None:
    """Copy a policy's files, and no others, to a new folder, in the form that both versions read.

    Raises:
        PolicyError: the source holds no model, or what was written would be read otherwise.
        OSError: the disk is full or read-only.
    """
    if not (source / CONFIG).is_file():
        raise PolicyError(f"{source} holds no model: it has no {CONFIG}")
    target.mkdir(parents=True)
    for file in sorted(source.iterdir()):
        if file.is_file() and file.suffix in MODEL_SUFFIXES and file.name != MANIFEST:
            shutil.copyfile(file, target / file.name)
    make_portable(target)
    check_same_policy(source, target)


def make_portable(directory: Path) -> None:
    """Rewrite the configurations of a policy's folder, in place, so that both versions read them.

    Raises:
        OSError: the disk is full or read-only.
    """
    _rewrite(directory / CONFIG, portable_config)
    _rewrite(directory / TOKENIZER_CONFIG, portable_tokenizer_config)
    _store_template(directory)


def portable_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's configuration with the keys of both versions, at any depth."""
    portable = {
        key: portable_config(value)
        if key.endswith("_config") and isinstance(value, dict)
        else value
        for key, value in config.items()
    }
    if "dtype" in portable:
        portable.setdefault("torch_dtype", portable["dtype"])
    rope = portable.get(ROPE)
    if isinstance(rope, Mapping):
        portable |= _older_rope(rope)
    return portable


def _older_rope(rope: Mapping[str, Any]) -> dict[str, Any]:
    """Return rotary constants under the keys of version 4."""
    if not isinstance(rope.get(FULL), Mapping):
        return _older_rope_of_layers(rope)
    older = _older_rope_of_layers(rope[FULL])
    if isinstance(rope.get(SLIDING), Mapping) and THETA in rope[SLIDING]:
        older["rope_local_base_freq"] = rope[SLIDING][THETA]
    return older


def _older_rope_of_layers(rope: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: value for key, value in rope.items() if key not in (THETA, PARTIAL)}
    scaling = None if own.get("rope_type", "default") == "default" else own
    moved = {key: rope[key] for key in (THETA, PARTIAL) if key in rope}
    return {**moved, "rope_scaling": scaling}


def portable_tokenizer_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tokenizer's configuration with the class and the keys that both versions know."""
    portable = {key: value for key, value in config.items() if key not in OWN_KEYS}
    name = portable.get("tokenizer_class")
    if name in TOKENIZER_CLASSES:
        portable["tokenizer_class"] = TOKENIZER_CLASSES[name]
    if isinstance(portable.get("extra_special_tokens"), list):
        portable["additional_special_tokens"] = portable.pop("extra_special_tokens")
    return portable


def _rewrite(path: Path, change: Any) -> None:
    if path.is_file():
        text = json.dumps(change(json.loads(path.read_text(encoding="utf-8"))), indent=2)
        path.write_text(text + "\n", encoding="utf-8")


def _store_template(target: Path) -> None:
    """Store the chat template in the tokenizer's configuration too, where older versions look."""
    template, path = target / CHAT_TEMPLATE, target / TOKENIZER_CONFIG
    if template.is_file():
        text = template.read_text(encoding="utf-8")
        _rewrite(path, lambda config: {**config, "chat_template": text})


def check_same_policy(source: Path, target: Path) -> None:
    """Check that the installed transformers reads a copy as it reads the source.

    Raises:
        PolicyError: the configuration, the tokenizer or its template differs, or cannot be read.
    """
    import_generation()
    from transformers import AutoConfig, AutoTokenizer

    try:
        configs = [
            AutoConfig.from_pretrained(path, trust_remote_code=False).to_dict()
            for path in (source, target)
        ]
        tokenizers = [
            AutoTokenizer.from_pretrained(path, trust_remote_code=False)
            for path in (source, target)
        ]
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise PolicyError(f"cannot read the model of {source}: {first_line(error)}") from error
    first, second = (_without_added_keys(config) for config in configs)
    readings = [
        (t.get_vocab(), t.chat_template, t.eos_token_id, set(t.all_special_ids), t(PROBE).input_ids)
        for t in tokenizers
    ]
    if first != second or readings[0] != readings[1]:
        raise PolicyError(f"the copy of {source} would be read otherwise than the model itself")


def _without_added_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without what `portable_config` adds for version 4, at any depth."""
    return {
        key: _without_added_keys(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if key not in ADDED_KEYS
    }
