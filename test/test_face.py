"""What `import asymformer_ros` gives: few names, quickly, and labels in three lines."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import asymformer_ros
from asymformer_ros.errors import BackendError, CheckpointError, ConfigurationError, FrameError
from asymformer_ros.frames.images import read_depth, read_rgb

pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install onnx onnxruntime")

ROOT = Path(__file__).parents[1]
FRAME = ROOT / "asymformer_ros/engine/golden_frames/frame-000000"
RGB, DEPTH = FRAME.with_suffix(".color.png"), FRAME.with_suffix(".depth.png")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def segmenter() -> asymformer_ros.Segmenter:
    return asymformer_ros.load("demo", backend="onnxruntime")


def test_these_names_are_public_and_no_others() -> None:
    assert asymformer_ros.__all__ == ["LabelSet", "RgbdFrame", "Segmentation", "Segmenter", "TemporalSmoothing", "load"]
    assert {name for name in dir(asymformer_ros) if name[0].isupper()} >= set(asymformer_ros.__all__) - {"load"}
    for name in asymformer_ros.__all__:
        assert getattr(asymformer_ros, name).__doc__
    with pytest.raises(AttributeError, match="module 'asymformer_ros' has no attribute 'Segmentor'"):
        _ = asymformer_ros.Segmentor


def test_the_import_is_quick_and_brings_no_library() -> None:
    code = (
        "import sys, time; start = time.process_time(); import asymformer_ros; took = time.process_time() - start\n"
        "print(took, [name for name in ('torch', 'onnxruntime', 'rclpy', 'cv2', 'numpy') if name in sys.modules])"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
        for _ in range(3)
    ]
    assert min(float(run.split()[0]) for run in runs) < 0.1
    assert all(run.split(maxsplit=1)[1] == "[]\n" for run in runs)


def test_segmenting_needs_neither_torch_nor_ros(tmp_path: Path) -> None:
    code = (
        "import sys, asymformer_ros; sys.modules['torch'] = sys.modules['rclpy'] = None\n"
        f"result = asymformer_ros.load('demo')({str(RGB)!r}, {str(DEPTH)!r})\n"
        f"result.save({str(tmp_path)!r}); print(result.classes[0].name)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout == json.loads((tmp_path / "summary.json").read_text())["classes"][0]["name"] + "\n"


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_of_the_readme_run(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rgb.png").write_bytes(RGB.read_bytes())
    (tmp_path / "depth.png").write_bytes(DEPTH.read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"labels.png", "overlay.png", "summary.json"}


def test_there_are_examples() -> None:
    assert EXAMPLES


def test_arrays_and_files_millimetres_and_metres_give_the_same_labels(segmenter: asymformer_ros.Segmenter) -> None:
    rgb, depth = read_rgb(RGB), read_depth(DEPTH)
    of_files, of_arrays = segmenter(RGB, str(DEPTH)), segmenter(rgb, depth)
    of_metres = segmenter(rgb, depth.astype(np.float32) * np.float32(0.001))
    for other in (of_arrays, of_metres):
        np.testing.assert_array_equal(of_files.labels, other.labels)
        np.testing.assert_array_equal(of_files.confidence, other.confidence)
    assert of_files.labels.shape == rgb.shape[:2]
    assert of_files.classes[0].pixel_fraction > 0.1
    with pytest.raises(FrameError, match="that is millimetres, but float depth is in metres"):
        segmenter(rgb, depth.astype(np.float32))


def test_a_label_set_from_a_file_takes_the_place_of_the_models(tmp_path: Path) -> None:
    classes = [{"name": f"thing {index}", "color": [index, 255 - index, 7]} for index in range(40)]
    (tmp_path / "mine.json").write_text(json.dumps({"name": "mine", "classes": classes}))
    result = asymformer_ros.load("demo", "onnxruntime", label_set=tmp_path / "mine.json")(RGB, DEPTH)
    assert result.label_set.name == "mine"
    assert result.classes[0].name == f"thing {result.classes[0].label}"
    (tmp_path / "few.json").write_text(json.dumps({"name": "few", "classes": classes[:5]}))
    with pytest.raises(ConfigurationError, match="5"):
        asymformer_ros.load("demo", "onnxruntime", label_set=tmp_path / "few.json")


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        (("absent.onnx",), CheckpointError, "absent.onnx"),
        (("demo", "tensorflow"), ConfigurationError, "backend is 'tensorflow': expected one of"),
        (("demo", "auto", "tpu"), ConfigurationError, "device is 'tpu': expected one of"),
        (("demo", "onnxruntime", "cuda"), BackendError, "device is 'cuda' but the onnxruntime backend runs on the CPU"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_a_reason(
    arguments: tuple[str, ...], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        asymformer_ros.load(*arguments)


@pytest.mark.parametrize(("given", "expected"), [(None, "passive"), ("active", "active")])
def test_threads_sleep_unless_the_user_says_otherwise(given: str | None, expected: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    if given:
        environment["OMP_WAIT_POLICY"] = given
    code = "import os, asymformer_ros; print(os.environ['OMP_WAIT_POLICY'])"
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == expected
