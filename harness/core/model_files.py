"""Which files of a folder in the Hugging Face layout decide what the model does.

Only these are part of a policy's identity: a README, a licence, a `.cache`, weights in another
format or the state of a former training change no result.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from pathlib import Path

from harness.core.file_hashes import users_hashes
from harness.core.seeds import digest

PATTERNS = (
    *("config.json", "generation_config.json", "adapter_config.json"),
    *("preprocessor_config.json", "processor_config.json"),
    *("*.safetensors", "*.safetensors.index.json"),
    *("tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "normalizer.json"),
    *("*vocab*.json", "*vocab*.txt", "merges.txt", "dict.txt", "bpe.codes", "byte_maps.json"),
    *("emoji.json", "word_pronunciation.json", "word_shape.json", "tekken.json"),
    *("*.model", "*.spm", "*.tiktoken", "*.tokenizer"),
    *("chat_template.json", "*.jinja", "additional_chat_templates/*.jinja"),
)
"""What transformers and vLLM read: the configuration, weights, tokenizer and chat template."""
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def is_model_file(name: str) -> bool:
    """Say whether a file's path in a model's folder is one that decides what the model does."""
    depth = name.count("/")
    return any(fnmatch.fnmatchcase(name, p) for p in PATTERNS if p.count("/") == depth)


def model_files(folder: Path) -> Iterator[Path]:
    """Yield the files that count, sorted; not a second copy of the weights (`consolidated*`)."""
    has_weights = (folder / WEIGHTS).is_file() or (folder / INDEX).is_file()
    for path in sorted([*folder.glob("*"), *folder.glob("additional_chat_templates/*")]):
        is_copy = has_weights and path.name.startswith("consolidated")
        if path.is_file() and not is_copy and is_model_file(path.relative_to(folder).as_posix()):
            yield path


def model_digest(folder: Path) -> str:
    """Return a digest of the names and the content of the files that count.

    Raises:
        OSError: a file cannot be read.
    """
    paths = list(model_files(folder))
    names = [path.relative_to(folder).as_posix() for path in paths]
    return digest(dict(zip(names, users_hashes().sha256s(paths), strict=True)))
