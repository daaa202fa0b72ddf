"""BF16 and INT8 on a CPU: served where asked for, taken by "auto" only where the camera's frames allow it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="computes in INT8")
from test_cpu_graph import wait

from asymformer_ros.engine.context import BuildContext
from asymformer_ros.engine.frames import sample_frames
from asymformer_ros.errors import BackendError
from asymformer_ros.frames.resize import resize_frame
from asymformer_ros.inference import lower_precision
from asymformer_ros.inference.backend import Prediction
from asymformer_ros.inference.libraries import open_backend
from asymformer_ros.inference.lower_precision import CameraFrames
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.selection import open_serving
from asymformer_ros.inference.upgrading import UpgradingBackend, settle
from asymformer_ros.models.catalogue import DEMO
from asymformer_ros.system.limits import computes_bfloat16, cpu_flags


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(("precision", "name"), [("int8", "onnxruntime cpu int8"), ("bf16", "openvino cpu bf16")])
def test_what_is_asked_for_serves_and_tells_how_far_it_agrees(
    precision: str, name: str, cache: str, rendered: Path
) -> None:
    if precision == "bf16":
        pytest.importorskip("openvino", reason="computes in BF16")
        if not computes_bfloat16():
            pytest.skip("this processor has no BF16")
    backend = open_serving("demo", ServingOptions(device="cpu", precision=precision, engine_cache=cache))
    assert backend.name == name
    assert "in the worst of 4 simulated frames are those of FP32" in backend.agreement  # type: ignore[attr-defined]
    fp32 = open_backend("onnxruntime", "demo")
    for sample in sample_frames(rendered, 2):
        frame = resize_frame(sample, backend.card.input_size)
        low, full = backend.infer(*frame, with_confidence=True), fp32.infer(*frame, with_confidence=True)
        assert 0.98 < (low.labels == full.labels).mean() < 1
        assert low.confidence is not None


def test_what_this_computer_cannot_compute_in_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lower_precision, "computes_bfloat16", lambda: False)
    monkeypatch.setattr(lower_precision, "installed", lambda name: True)
    with pytest.raises(BackendError, match="'bf16' but this processor has no instructions for it: fp32 can serve"):
        open_serving("demo", ServingOptions(precision="bf16"))
    monkeypatch.setattr(lower_precision, "installed", lambda name: False)
    with pytest.raises(BackendError, match="openvino is not installed"):
        open_serving("demo", ServingOptions(precision="bf16"))


@pytest.mark.parametrize(
    ("why_not", "options", "asked"),
    [
        ("", {}, ("torch", "auto")),
        ("", {"device": "cuda"}, ("torch", "cuda")),
        ("no GPU", {"backend": "torch"}, ("torch", "auto")),
        ("no GPU", {}, None),
        ("", {"device": "cpu"}, None),
        ("", {"backend": "onnxruntime"}, None),
    ],
)
def test_bf16_is_pytorchs_on_cuda_and_else_openvinos(
    why_not: str, options: dict[str, str], asked: tuple[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lower_precision, "why_no_cuda", lambda device: why_not)
    monkeypatch.setattr(lower_precision, "_obstacle", lambda precision: "")
    monkeypatch.setattr(lower_precision, "_open", lambda *_: None)
    monkeypatch.setattr(lower_precision, "open_backend", lambda *given: given)
    chosen = ServingOptions(precision="bf16", **options)  # type: ignore[arg-type]
    backend: object = open_serving("demo", chosen)
    assert backend == (None if asked is None else (asked[0], "demo", asked[1], chosen))


class Candidate:
    """Answers a frame with given labels."""

    name, agreement = "low", ""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels, self.card = labels, open_backend("onnxruntime", "demo").card

    def infer(self, rgb: np.ndarray, depth: np.ndarray) -> Prediction:
        return Prediction(self.labels, None)


def one_of(count: int) -> np.ndarray:
    """100x100 labels 0, of which some are 1."""
    labels = np.zeros(10000, np.uint8)
    labels[:count] = 1
    return labels.reshape(100, 100)


@pytest.mark.parametrize(
    ("expected", "got", "seconds", "told"),
    [
        (one_of(500), one_of(460), 9.0, ""),
        (one_of(500), one_of(440), 9.0, "only 99.40% of its labels in the worst of 1 frames are those of FP32"),
        (one_of(20), one_of(0), 9.0, "class floor is lost"),
        (one_of(5), one_of(0), 9.0, ""),
        (one_of(500), one_of(500), 1e-9, "of the time of fp32"),
    ],
)
def test_a_lower_precision_is_taken_by_labels_classes_and_time(
    expected: np.ndarray, got: np.ndarray, seconds: float, told: str
) -> None:
    frames, candidate = CameraFrames(), Candidate(got)
    rgb, depth = np.zeros((100, 100, 3), np.uint8), np.ones((100, 100), np.float32)
    for _ in range(3):  # within a second one frame is kept
        frames.keep(rgb, depth, expected, seconds)
    problem = frames.problem_of(candidate, BuildContext())
    assert told in problem
    assert bool(told) == bool(problem)


@pytest.mark.parametrize("good", [True, False])
def test_auto_asks_the_frames_that_come_and_no_frame_is_lost(
    good: bool, cache: str, rendered: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lower_precision, "_APART", 0.0)
    monkeypatch.setattr(lower_precision, "_GAIN", 1e9)
    monkeypatch.setattr(lower_precision, "CPU_PRECISIONS", ("int8",))
    monkeypatch.setattr("asymformer_ros.engine.verify.MIN_AGREEMENT", 0.9 if good else 1.0)
    backend = open_serving("demo", ServingOptions(device="cpu", precision="auto", engine_cache=cache))
    assert isinstance(backend, UpgradingBackend)
    settle(backend, BuildContext())  # which does not wait for frames
    rgb, depth = resize_frame(next(iter(sample_frames(rendered, 1))), backend.card.input_size)
    served = set[str]()

    def decided() -> bool:
        assert backend.infer(rgb[None], depth[None]).labels.shape == (1, *backend.card.input_size)
        served.add(backend.name)
        return "onnxruntime cpu int8" in served or "is refused" in caplog.text

    wait(decided)
    assert served == ({"onnxruntime cpu fp32", "onnxruntime cpu int8"} if good else {"onnxruntime cpu fp32"})
    assert ("8 camera frames" in backend.agreement) == good
    if not good:
        assert "int8 is refused: only 9" in caplog.text
        assert "onnxruntime cpu fp32 goes on serving" in caplog.text
    backend.close()


def test_a_precision_that_cannot_be_opened_is_refused_and_the_next_is_tried(
    cache: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise BackendError("this processor computes nothing")

    monkeypatch.setattr(lower_precision, "_obstacle", lambda precision: "")
    monkeypatch.setattr(lower_precision, "_open", fail)
    monkeypatch.setattr(lower_precision.CameraFrames, "wait", lambda *_: None)
    backend = open_serving("demo", ServingOptions(device="cpu", precision="auto", engine_cache=cache))
    wait(lambda: "int8 is refused" in caplog.text)
    assert "bf16 is refused: this processor computes nothing; int8 is refused" in caplog.text
    backend.close()


def test_a_known_name_without_a_file_is_told(cache: str) -> None:
    with pytest.raises(BackendError, match="'untrained' is no file"):
        open_serving("untrained", ServingOptions(precision="int8", engine_cache=cache))
    assert DEMO.onnx.is_file()


def test_flags_are_read_of_the_first_processor(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(
        "processor : 0\nflags : fpu avx512_vnni\nprocessor : 1\nflags : fpu amx_bf16\n"
    )
    assert "avx512_vnni" in cpu_flags(tmp_path)
    assert "amx_bf16" not in cpu_flags(tmp_path)
    assert cpu_flags(tmp_path / "nowhere") == frozenset()
