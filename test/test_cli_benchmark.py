"""`asymformer benchmark`: its figures, what it counts, and its ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import ROOT

from asymformer_ros.cli.main import main
from asymformer_ros.engine.frames import sample_frames
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.evaluation.speed import WARM_UP, PeakMemory, Times, measure
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.selection import open_serving
from asymformer_ros.system.busy import busy_loops


def test_percentiles_are_of_all_times() -> None:
    times = Times.of([float(one) for one in range(101)])
    assert (times.frames, times.median, times.p95, times.p99) == (101, 50.0, 95.0, 99.0)
    assert Times.of([20.0]).per_second == 50.0


def test_frames_are_taken_in_turn_and_the_first_do_not_count() -> None:
    pytest.importorskip("onnxruntime", reason="serves the model")
    backend, frames = open_serving("demo", ServingOptions("onnxruntime")), list(sample_frames(None, 4))
    seen = []
    infer = backend.infer

    def watched(rgb: np.ndarray, depth: np.ndarray, **options: object) -> object:
        seen.append(rgb.sum())
        return infer(rgb, depth, **options)  # type: ignore[arg-type]

    backend.infer = watched  # type: ignore[assignment, method-assign]
    speed = measure(backend, frames, 3)
    assert speed.network.frames == speed.whole.frames == 3
    assert len(seen) == 2 * (3 + WARM_UP)
    assert len(set(seen)) == 4
    with pytest.raises(ConfigurationError, match="cannot be timed"):
        measure(backend, [], 3)


def test_busy_loops_are_there_meanwhile_and_no_longer() -> None:
    before = {child.pid for child in psutil.Process().children()}
    loops: list[psutil.Process] = []

    def interrupted() -> None:
        with busy_loops(2):
            loops.extend(child for child in psutil.Process().children() if child.pid not in before)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(loops) == 2
    assert not any(loop.is_running() for loop in loops)


_PEAK = """
import numpy
from asymformer_ros.evaluation.speed import PeakMemory
numpy.ones(1 << 28, numpy.uint8)  # 256 MiB, given back at once: before
memory = PeakMemory()
before = memory.bytes
numpy.ones(1 << 27, numpy.uint8)
print(None if before is None else memory.bytes - before)
"""


def test_the_peak_is_of_what_was_had_since() -> None:
    """In a process of its own: other tests' threads give memory back in this one."""
    answer = subprocess.run([sys.executable, "-c", _PEAK], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    if answer.strip() == "None":
        pytest.skip("this system does not let a process forget its peak")
    assert 100 << 20 < int(answer) < 200 << 20
    assert PeakMemory(Path("/no/such")).bytes is None


def test_all_figures_are_told_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="counts parameters and operations")
    pytest.importorskip("onnxruntime", reason="serves the model")
    path = tmp_path / "speed.json"
    words = ["benchmark", "demo", "--backends", "onnxruntime", "--device", "cpu", "--frames", "2"]
    assert main([*words, "--busy", "1", "-o", str(path)]) == 0
    content = json.loads(path.read_text())
    assert [one["backend"].split()[0] for one in content["results"]] == ["onnxruntime"]
    for one in content["results"]:
        assert list(one["milliseconds"]) == ["as it is", "1 busy loops"]
        for speed in one["milliseconds"].values():
            assert speed["whole"]["frames"] == 2
            assert 0 < speed["network"]["median"] <= speed["network"]["p99"]
    assert content["machine"]["cpus"] <= (os.cpu_count() or 1)
    assert "arXiv" in content["published"]["source"]
    out = capsys.readouterr().out
    assert "3.25 M parameters" in out
    assert "not measured here" in out


def test_the_published_network_has_the_authors_parameters_and_nearly_their_operations() -> None:
    pytest.importorskip("torch", reason="counts parameters and operations")
    from asymformer_ros.cli.benchmark import PUBLISHED
    from asymformer_ros.models.complexity import complexity
    from asymformer_ros.models.opening import open_bundle

    counted = complexity(open_bundle("untrained_full"), (480, 640))
    assert counted.parameters == pytest.approx(PUBLISHED["parameters"], rel=0.02)
    assert counted.flops / 2 == pytest.approx(PUBLISHED["operations"], rel=0.12)  # multiply-adds, of products alone
    assert counted.flops / 2 == pytest.approx(31.86e9, rel=1e-3)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["demo", "--frames", "0"], "--frames 0"),
        (["demo", "--busy", "-1"], "--busy -1"),
        (["/no/such.onnx"], "/no/such.onnx"),
        (["demo", "--frames", "1", "--recording", "/no/such"], "no folder '/no/such'"),
    ],
)
def test_what_cannot_be_measured_is_one_line(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", *words]) == 1
    assert says in capsys.readouterr().err.splitlines()[-1]
