"""What a run is known by: the content of what goes in, wherever and however it is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.core import config
from harness.core.config import CLASS_VERSION, FILE_CONTENT, IDENTIFIED_BY, SOURCE_CODE
from harness.core.workspace import Workspace, read_run
from harness.errors import PolicyError, RunExistsError, StoreError
from harness.training import schedule
from harness.training.differences import differences
from harness.training.sources import FilePrompts, Pretrained, trained_policy
from harness.training.spec import TrainSpec

SMALL = ("samples=2", "iterations=1", "optimiser.epochs=1", "optimiser.batch=8")


def spec(folder: Path, *overrides: str) -> TrainSpec:
    data = config.load("train", "toy/inpo", (*SMALL, "prompts.count=8", *overrides))
    policy = Pretrained(name="tiny", path=str(folder))
    return config.construct(TrainSpec, {**data, "policy": policy})


@pytest.fixture
def model(tiny_policy: str, tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    shutil.copytree(tiny_policy, folder)
    return folder


def stages(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in (workspace.root / "stages").glob("*-*"))


def test_what_changes_no_result_changes_no_name_and_what_does_is_refused(model, workspace):
    schedule.train(spec(model), workspace, "run")
    before = stages(workspace)
    (model / "README.md").write_text("a note")
    renamed = model.rename(model.with_name("renamed"))
    fresh = Workspace(workspace.root)
    schedule.train(
        spec(renamed, f"objective.tau={0.2 / 3!r}", "objective.eta=2.0e-1"), fresh, "run"
    )
    assert stages(workspace) == before
    recorded = read_run(workspace, "run")
    assert recorded is not None
    assert recorded.config["policy"]["path"] == str(renamed)
    template = renamed / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    with pytest.raises(RunExistsError, match=r"policy\.path \(.*renamed\) has another content"):
        schedule.train(spec(renamed), Workspace(workspace.root), "run")
    with pytest.raises(RunExistsError, match=r"objective\.tau: 0\.06666\d* → 0\.07"):
        schedule.train(spec(renamed, "objective.tau=0.07"), Workspace(workspace.root), "run")


def test_samples_that_were_removed_are_not_drawn_again_and_a_copy_stands_alone(
    model, workspace, tmp_path
):
    run = schedule.train(spec(model), workspace, "run")
    remaining = [name for name in stages(workspace) if not name.startswith(("generate", "compare"))]
    for path in [*workspace.root.glob("stages/generate-*"), *workspace.root.glob("stages/comp*-*")]:
        shutil.rmtree(path)
    again = schedule.train(spec(model), Workspace(workspace.root), "run")
    assert again.digests == run.digests
    assert stages(workspace) == remaining
    copy = Workspace(tmp_path / "copy")
    shutil.copytree(workspace.root, copy.root)
    duplicate = read_run(copy, "run")
    assert duplicate is not None
    policy = trained_policy(duplicate, None)
    assert policy.weights().path == str(copy.root / "stages" / Path(run.policies[1]).name)
    shutil.rmtree(policy.weights().path)
    with pytest.raises(StoreError, match=r"copy/stages/optimise-.* is missing; .*harness train"):
        policy.weights()


def test_weights_that_are_not_those_of_the_record_are_refused(model, workspace):
    run = schedule.train(spec(model), workspace, "run")
    run.digests[1] = "0" * 64
    with pytest.raises(StoreError, match="holds other weights than run 'run' has trained; remove"):
        trained_policy(run, 1).weights()


def test_a_template_that_reads_the_date_is_refused_before_anything_runs(model, tmp_path):
    (model / "chat_template.jinja").write_text("{{ strftime_now('%Y') }}{{ messages }}")
    with pytest.raises(PolicyError, match="model reads the date"):
        Pretrained(name="tiny", path=str(model)).weights()
    fixed = tmp_path / "fixed.jinja"
    fixed.write_text("2024 {{ messages }}")
    policy = Pretrained(name="tiny", path=str(model), chat_template=str(fixed))
    before = policy.weights().digest
    fixed.write_text("2025 {{ messages }}")
    assert policy.weights().digest != before


def test_prompts_are_known_by_their_content_and_not_by_their_file(tmp_path):
    identities = []
    for name, text in [
        ("a", '{"prompt": "x"}'),
        ("b", '{"prompt": "x"}'),
        ("c", '{"prompt": "y"}'),
    ]:
        (tmp_path / name).write_text(text)
        identities.append(config.identity(FilePrompts(path=str(tmp_path / name))))
    assert identities[0] == identities[1] != identities[2]
    described = config.description(FilePrompts(path=str(tmp_path / "a")))
    assert config.build(described) == FilePrompts(path=str(tmp_path / "a"))


def described(use: str = "mine:Mine", *, path: str = "x", **identified: object) -> dict:
    by = {key.replace("_", " "): value for key, value in identified.items()}
    return {
        "objective": {"use": use, "path": path, **({IDENTIFIED_BY: by} if by else {})},
        "seed": 0,
    }


def located(path: str, digest: str) -> dict:
    return {
        "objective": {"use": "mine:Mine", "path": path, IDENTIFIED_BY: {"path": digest}},
        "seed": 0,
    }


@pytest.mark.parametrize(
    ("old", "new", "texts"),
    [
        (described(), described(), []),
        (described(path="a"), described(path="b"), ["objective.path: 'a' → 'b'"]),
        (located("a", "1"), located("b", "1"), []),
        (located("a", "1"), located("b", "2"), ["objective.path (b) has another content"]),
        (described(path="a"), located("a", "2"), []),
        (described(path="a"), located("b", "2"), ["objective.path: 'a' → 'b'"]),
        (
            described(**{SOURCE_CODE: {"mine.py": "1", "x.py": "1"}}),
            described(**{SOURCE_CODE: {"mine.py": "2", "x.py": "1"}}),
            ["the code of mine:Mine (mine.py) has changed"],
        ),
        (
            described(**{SOURCE_CODE: {"mine.py": "1"}}),
            described(**{SOURCE_CODE: {"mine.py": "1", "new.py": "1"}}),
            ["the code of mine:Mine (new.py) has changed"],
        ),
        (
            described(**{SOURCE_CODE: {"mine.py": "1"}}),
            described("other:Other", **{SOURCE_CODE: {"other.py": "1"}}),
            ["objective.use: 'mine:Mine' → 'other:Other'"],
        ),
        (described(), described(**{SOURCE_CODE: {"mine.py": "1"}}), []),
        (
            described(**{CLASS_VERSION: 2}),
            described(**{CLASS_VERSION: 3}),
            ["mine:Mine is of another version"],
        ),
        (
            described(**{FILE_CONTENT: "1"}),
            described(**{FILE_CONTENT: "2"}),
            ["a file that objective reads has another content"],
        ),
    ],
)
def test_differences_are_in_words(old, new, texts):
    assert differences(json.loads(json.dumps(old)), new) == texts
