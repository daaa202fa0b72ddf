"""The notebook runs as it is, and what the Dockerfiles and the workflow name exists."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples/quickstart.ipynb"
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


def test_the_notebook_has_ten_cells_and_nothing_that_was_run() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert len(cells) == 10
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="runs the notebook")
    for library in ("ipykernel", "onnxruntime", "matplotlib", "jinja2", "tqdm"):
        pytest.importorskip(library, reason="the notebook needs it")
    import nbformat

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    kernel = tmp_path / "share/kernels/python3"
    kernel.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "here", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    told = ["".join(text_of(output) for output in cell.get("outputs", ())) for cell in notebook.cells]
    assert "onnxruntime cpu" in told[1] or "torch" in told[1]
    assert "of the image" in told[2]
    assert "image/png" in str(notebook.cells[4].outputs)
    assert "drivable" in told[7]
    assert "summary.jsonl" in told[8]
    assert (tmp_path / "results/view.html").stat().st_size > 10_000


def text_of(output: dict[str, Any]) -> str:
    return str(output.get("text", ""))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_what_a_dockerfile_names_exists(path: Path) -> None:
    text = path.read_text()
    for name in re.findall(r"src/asymformer_ros/([\w./]+)", text):
        assert (ROOT / name).exists(), name
    extras = re.findall(r"EXTRAS=([\w,]+)", text) or re.findall(r"requirements\.py (\w+)", text)
    for one in extras:
        program = [sys.executable, str(ROOT / "scripts/requirements.py"), one]
        assert subprocess.run(program, capture_output=True, text=True, check=True).stdout.startswith("numpy")
    assert re.search(r"segment\.launch\.py", text)
    assert os.access(ROOT / "docker/entrypoint.sh", os.X_OK)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_each_step_of_a_dockerfile_is_a_shell_command(path: Path) -> None:
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
    steps = re.findall(r"^RUN ((?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert len(steps) >= 3
    for step in steps:
        subprocess.run(["bash", "-n", "-c", step], check=True)


def test_the_entry_point_is_a_shell_script_that_runs_what_it_is_given() -> None:
    script = (ROOT / "docker/entrypoint.sh").read_text()
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert script.rstrip().endswith('exec "$@"')
