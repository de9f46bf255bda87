"""The notebook of the documentation runs from its first cell to its last, in a real kernel."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """A kernel that is this interpreter, whatever kernels the machine has."""
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "here").mkdir()
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "here", "language": "python"}
    (folder / "here/kernel.json").write_text(json.dumps(spec))
    return KernelSpecManager(kernel_dirs=[str(folder)])


@pytest.fixture(scope="module")
def executed(tmp_path_factory, kernels):
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(ROOT / "docs/notebook.ipynb", as_version=4)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="here",
        resources={"metadata": {"path": str(folder)}},
    )
    client.create_kernel_manager().kernel_spec_manager = kernels
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("OMP_NUM_THREADS", "1")
        client.execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(cell, kind):
    data = [output["data"] for output in cell.outputs if "data" in output]
    return "".join(item[kind] for item in data if kind in item)


def test_a_score_and_its_frame_are_shown(executed):
    # preferences of 1, 1.5 and 2 in turn are win rates of 0, 50 and 100 %: 50 on average
    assert "50.00" in outputs(executed[1], "text/html")
    assert "<table" in outputs(executed[2], "text/html")


def test_a_run_its_log_and_its_model_are_shown(executed):
    assert "notebook" in outputs(executed[3], "text/html")
    assert "loss" in outputs(executed[4], "text/html")
    assert int(outputs(executed[5], "text/plain")) > 100_000


def test_a_result_and_the_table_are_shown(executed):
    assert "judged by toy-judge" in outputs(executed[6], "text/html")
    frame, board = outputs(executed[7], "text/html"), outputs(executed[8], "text/html")
    assert frame.count("<tr") >= 3
    assert "notebook" in board  # a run that has a name is called by it
    assert "win rate" in board
