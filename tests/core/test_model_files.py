"""What a model's folder is known by: what decides what the model does, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.core.model_files import is_model_file, model_digest

CONTENT = {
    "config.json": "{}",
    "generation_config.json": "{}",
    "tokenizer.json": "{}",
    "tokenizer_config.json": "{}",
    "chat_template.jinja": "{{ messages }}",
    "model.safetensors": "weights",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = tmp_path / "model"
    model.mkdir()
    for name, text in CONTENT.items():
        (model / name).write_text(text)
    return model


@pytest.mark.parametrize(
    "name",
    [
        *("README.md", "LICENSE", "LICENSE.txt", "USE_POLICY.md", "notes.txt", ".gitattributes"),
        *(
            ".cache/huggingface/download/model.safetensors.metadata",
            ".git/HEAD",
            "__pycache__/x.pyc",
        ),
        *("original/consolidated.00.pth", "original/tokenizer.model", "consolidated.safetensors"),
        *("pytorch_model.bin", "training_args.bin", "optimizer.pt", "trainer_state.json"),
        *("events.out.tfevents.1", "figures/loss.png", ".DS_Store", "runs/config.json"),
        *("train_results.json", "onnx/model.onnx", "model.gguf", "tf_model.h5", "modeling_x.py"),
    ],
)
def test_other_files_do_not_count(folder, name):
    before = model_digest(folder)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("x")
    assert model_digest(folder) == before


@pytest.mark.parametrize("name", CONTENT)
def test_every_part_of_the_model_counts(folder, name):
    before = model_digest(folder)
    text = (folder / name).read_text()
    (folder / name).write_text(text[:-1] + "?")
    changed = model_digest(folder)
    (folder / name).unlink()
    assert len({before, changed, model_digest(folder)}) == 3


@pytest.mark.parametrize(
    "name",
    [
        *("adapter_config.json", "adapter_model.safetensors", "model-00001-of-00002.safetensors"),
        *("model.safetensors.index.json", "special_tokens_map.json", "added_tokens.json"),
        *("vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model", "source.spm"),
        *("qwen.tiktoken", "chat_template.json", "additional_chat_templates/tool_use.jinja"),
    ],
)
def test_a_file_that_transformers_reads_counts_once_it_is_there(folder, name):
    before = model_digest(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x")
    assert model_digest(folder) != before


def test_every_file_that_a_tokenizer_of_transformers_names_counts():
    import re

    import transformers

    names = set()
    for file in Path(transformers.__file__).parent.glob("models/*/tokenization_*.py"):
        for table in re.findall(r"VOCAB_FILES_NAMES\s*=\s*\{(.*?)\}", file.read_text(), re.DOTALL):
            names |= set(re.findall(r':\s*"([^"]+)"', table))
    assert {"merges.txt", "tokenizer.json"} < names
    assert sorted(name for name in names if not is_model_file(name)) == []


def test_a_renamed_or_copied_folder_and_other_times_change_nothing(folder, tmp_path):
    before = model_digest(folder)
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "config.json").touch()
    folder.rename(tmp_path / "renamed")
    assert model_digest(tmp_path / "renamed") == model_digest(tmp_path / "copy") == before


def test_weights_beside_an_index_count_and_a_second_copy_does_not(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"weight_map": {"x": "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    before = model_digest(folder)
    (folder / "consolidated.safetensors").write_text("the same in another layout")
    assert model_digest(folder) == before
    (folder / "model-00001-of-00001.safetensors").write_text("other")
    assert model_digest(folder) != before
