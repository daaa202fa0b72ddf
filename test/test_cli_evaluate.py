"""`asymformer evaluate`: PyTorch and ONNX Runtime agree, the report is whole or absent, and errors take one line."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_data_set import write_small_set

pytest.importorskip("tqdm", reason="evaluate shows a progress bar")
pytest.importorskip("matplotlib", reason="evaluate draws the confusion matrix")

from asymformer_ros import __version__
from asymformer_ros.cli.evaluated import serving_options
from asymformer_ros.cli.main import build_parser, main
from asymformer_ros.errors import BackendError
from asymformer_ros.frames.images import write_png
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.models.labels import label_set

ROOT = Path(__file__).resolve().parents[1]
HERE = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_set(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where the graphs of bundles are kept between the tests, and not with the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="a bundle needs PyTorch")
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    assert main(["untrained", str(path), "--size", "small", "--input-size", "64x96"]) == 0
    return path


@pytest.fixture(scope="module")
def onnx(bundle: Path) -> Path:
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")
    path = bundle.with_suffix(".onnx")
    assert main(["export", str(bundle), str(path)]) == 0
    return path


def evaluated(model: Path, data: Path, report: Path, *options: str) -> dict[str, object]:
    assert main(["evaluate", str(model), "--data", str(data), "-o", str(report), *options]) == 0
    assert (report / "confusion_matrix.png").stat().st_size > 1000
    return json.loads((report / "report.json").read_text())


def test_pytorch_and_onnx_runtime_agree(bundle: Path, onnx: Path, data: Path, tmp_path: Path) -> None:
    theirs = evaluated(bundle, data, tmp_path / "torch", "--backend", "torch", "--device", "cpu")
    ours = evaluated(onnx, data, tmp_path / "onnx", "--backend", "onnxruntime")
    assert (theirs["backend"], ours["backend"]) == ("torch cpu fp32", "onnxruntime cpu fp32")
    assert theirs["model"] == ours["model"]
    for key in ("mean_iou", "mean_iou_present", "mean_accuracy", "pixel_accuracy"):
        assert ours[key] == pytest.approx(theirs[key], abs=1e-3)
    for name, iou in theirs["class_iou"].items():  # type: ignore[attr-defined]
        assert ours["class_iou"][name] == pytest.approx(iou, abs=5e-3)  # type: ignore[index]


def test_the_report_says_what_was_done(bundle: Path, data: Path, tmp_path: Path) -> None:
    from asymformer_ros.models.bundle import ModelBundle

    report = evaluated(bundle, data, tmp_path / "report", "--split", "train")
    assert set(report["class_iou"]) == set(label_set("nyuv2_40").names)  # type: ignore[call-overload]
    assert report["model"] == {"name": "untrained", "sha256": ModelBundle.load(bundle).sha256}
    assert (report["data"], report["split"], report["frames"]) == ("set (PNG)", "train", 1)
    assert report["frames_per_second"] > 0  # type: ignore[operator]
    assert report["package_version"] == __version__
    assert report["command"].startswith("asymformer evaluate ")  # type: ignore[attr-defined]


def test_comparing_needs_no_library(tmp_path: Path) -> None:
    scores = dict.fromkeys(("mean_iou", "mean_iou_present", "mean_accuracy", "pixel_accuracy"), 0.5)
    (tmp_path / "a.json").write_text(json.dumps({**scores, "class_iou": {"wall": 0.5}}))
    words = ["evaluate", "--compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]
    code = "for name in ('matplotlib', 'tqdm', 'torch', 'rclpy', 'onnx'): sys.modules[name] = None\n"
    code += f"from asymformer_ros.cli.main import main\nsys.exit(main({words!r}))"
    answer = subprocess.run([sys.executable, "-c", HERE + code], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert "pixel accuracy" in answer.stdout


@pytest.mark.parametrize("kind", ["bundle", "onnx"])
def test_the_model_is_opened_and_hashed_once(
    kind: str, data: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asymformer_ros.models import bundle, onnx_file

    model, calls = request.getfixturevalue(kind), list[str]()

    def count(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            calls.append(name)
            return real(*arguments)

        return counted

    load, sha256, read = bundle.ModelBundle.load, bundle.ModelBundle.sha256.fget, onnx_file._load
    monkeypatch.setattr(bundle.ModelBundle, "load", staticmethod(count("bundle", load)))
    monkeypatch.setattr(bundle.ModelBundle, "sha256", property(count("hash of a bundle", sha256)))
    monkeypatch.setattr(onnx_file, "_load", count("onnx file and its hash", read))
    library = {"bundle": "torch", "onnx": "onnxruntime"}[kind]
    report = evaluated(model, data, tmp_path / "report", "--limit", "1", "--device", "cpu", "--backend", library)
    assert calls == {"bundle": ["bundle", "hash of a bundle"], "onnx": ["onnx file and its hash"]}[kind]
    assert len(report["model"]["sha256"]) == 64  # type: ignore[index]


def test_a_model_of_other_classes_is_evaluated_with_its_classes_file(data: Path, tmp_path: Path) -> None:
    own = {"name": "own", "classes": [{"name": "low", "color": [9, 9, 9]}, {"name": "rest", "color": [1, 1, 1]}]}
    (tmp_path / "own.json").write_text(json.dumps(own))
    classes = tmp_path / "classes.json"
    classes.write_text(json.dumps({"label_set": own, "from": {"floor": "low", "wall": "rest", "chair": "rest"}}))
    model = tmp_path / "own.safetensors"
    options = ["--size", "small", "--input-size", "64x96", "--label-set", str(tmp_path / "own.json")]
    assert main(["untrained", str(model), *options]) == 0
    report = evaluated(model, data, tmp_path / "report", "--device", "cpu", "--classes", str(classes))
    assert set(report["class_iou"]) == {"low", "rest"}  # type: ignore[call-overload]
    assert f"--classes {classes}" in str(report["command"])


def test_the_docs_list_every_field_and_every_option(bundle: Path, data: Path, tmp_path: Path) -> None:
    text = (ROOT / "docs/evaluation.md").read_text()
    fields = text.partition("| field |")[2].partition("\n\n")[0]
    told = [name for line in fields.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert set(told) == set(evaluated(bundle, data, tmp_path / "report", "--limit", "1"))
    options = set(re.findall(r"^\| `--([\w-]+)`", text, re.MULTILINE))
    args = build_parser().parse_args(["evaluate", "m", "--data", "d", "-o", "r"])
    assert {name.replace("-", "_") for name in options} == set(vars(args)) - {"model", "run"}


def test_the_command_in_the_report_repeats_it(bundle: Path, data: Path, tmp_path: Path) -> None:
    options = ("--limit", "2", "--device", "cpu")
    report = evaluated(bundle, data, tmp_path / "my report", *options)
    assert report["frames"] == 2
    words = ["evaluate", str(bundle), "--data", str(data), "-o", str(tmp_path / "my report"), *options]
    told = shlex.split(str(report["command"]))
    assert told[0] == "asymformer"
    assert build_parser().parse_args(told[1:]) == build_parser().parse_args(words)


def test_the_table_is_on_stdout_and_the_rest_on_stderr(
    bundle: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = evaluated(bundle, data, tmp_path, "--device", "cpu")
    out, err = capsys.readouterr()
    lines = out.splitlines()
    wall = report["class_iou"]["wall"]  # type: ignore[index]
    assert lines[1].split() == ["wall", f"{wall * 100:.2f}"]
    assert f"mean IoU {report['mean_iou'] * 100:.2f}".split() in [line.split() for line in lines]  # type: ignore[operator]
    assert lines[-3].startswith("untrained, onnxruntime cpu fp32: 3 frames, ")
    assert lines[-1] == f"wrote {tmp_path / 'view.html'}"
    page = (tmp_path / "view.html").read_text()
    assert page.count("data:image/webp") == 2 * 3  # camera and depth of each frame
    assert 'id="confusion"' in page
    assert lines[-2] == f"wrote {tmp_path / 'report.json'}"
    assert "3/3" in err


def test_an_onnx_file_is_evaluated_without_pytorch(onnx: Path, data: Path, tmp_path: Path) -> None:
    words = ["evaluate", str(onnx), "--data", str(data), "-o", str(tmp_path / "report")]
    code = f"sys.modules['torch'] = None\nfrom asymformer_ros.cli.main import main\nsys.exit(main({words!r}))"
    answer = subprocess.run([sys.executable, "-c", HERE + code], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert json.loads((tmp_path / "report/report.json").read_text())["frames"] == 3


def test_without_jinja_the_report_has_no_page(
    bundle: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("asymformer_ros.cli.evaluate.installed", lambda name: name != "jinja2")
    evaluated(bundle, data, tmp_path, "--device", "cpu")
    assert "jinja2 is not installed" in caplog.text
    assert not (tmp_path / "view.html").exists()


@pytest.mark.parametrize("package", ["tqdm", "matplotlib"])
def test_a_missing_package_is_named_with_what_brings_it(data: Path, tmp_path: Path, package: str) -> None:
    words = ["evaluate", "absent", "--data", str(data), "-o", str(tmp_path / "report")]
    code = f"sys.modules[{package!r}] = None\nfrom asymformer_ros.cli.main import main\nsys.exit(main({words!r}))"
    answer = subprocess.run([sys.executable, "-c", HERE + code], capture_output=True, text=True)
    assert answer.returncode == 1
    assert len(answer.stderr.splitlines()) == 1
    assert f"needs {package}, which is not installed here: `pip install {package}`" in answer.stderr


def test_what_ctrl_c_interrupts_with_130_the_same_command_goes_on_with(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, report = write_small_set(tmp_path / "set", frames=2), tmp_path / "report"
    name = (data / "test.txt").read_text()
    (data / "test.txt").write_text(name * 10000)
    words = ["evaluate", str(bundle), "--data", str(data), "--device", "cpu", "-o", str(report)]
    code = f"from asymformer_ros.cli.main import main\nsys.exit(main({words!r}))"
    with subprocess.Popen([sys.executable, "-c", HERE + code], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        seen = b""
        while not re.search(rb" [1-9]\d*/10000", seen) and process.poll() is None:
            seen += process.stderr.read1()  # type: ignore[attr-defined]
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130, seen + rest
    assert b"Traceback" not in rest
    assert [path.name for path in report.iterdir()] == ["progress.json"]
    (counted,) = re.findall(rb"(\d+) frames are counted: the same command goes on", rest)
    assert main([*words, "--limit", counted.decode()]) == 0
    assert f"going on behind the first {int(counted)} frames" in capsys.readouterr().err
    assert json.loads((report / "report.json").read_text())["frames"] == int(counted)
    assert not (report / "progress.json").exists()


def test_scores_are_shown_also_where_the_report_cannot_be_written(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, output = write_small_set(tmp_path / "set"), tmp_path / "set" / "test.txt" / "report"
    assert main(["evaluate", str(bundle), "--data", str(data), "--device", "cpu", "-o", str(output)]) == 1
    shown = capsys.readouterr()
    assert "mean IoU" in shown.out
    assert f"cannot write the report to '{output}': Not a directory" in shown.err


@pytest.mark.parametrize(
    ("model", "folder", "output", "says"),
    [
        ("small.safetensors", "absent", "report", "there is no folder"),
        ("small.safetensors", ".", "report", "is no data set that is known here"),
        ("absent.safetensors", "set", "report", "absent.safetensors does not exist"),
        ("small.safetensors", "set", "set/test.txt", "is a file: give a folder for the report"),
        ("small.safetensors", "set13", "report", "the model has the classes of nyuv2_40"),
        ("small.safetensors", "void", "report", "no pixel has a true class"),
    ],
)
def test_what_is_wrong_takes_one_line(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, folder: str, output: str, says: str
) -> None:
    write_small_set(tmp_path / "set", frames=2)
    write_small_set(tmp_path / "set13", label_set("nyuv2_13"), frames=2)
    write_small_set(tmp_path / "void", frames=2)
    write_png(tmp_path / "void/labels/0001.png", np.zeros((36, 48), np.uint8))
    words = ["evaluate", str(bundle.with_name(model)), "--data", str(tmp_path / folder), "-o", str(tmp_path / output)]
    assert main([*words, "--device", "cpu"]) == 1
    assert says in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("limit", ["0", "-1", "many"])
def test_a_limit_is_a_number_of_frames(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "untrained", "--data", "set", "-o", "report", f"--limit={limit}"])
    assert f"{limit!r} is no number of frames" in capsys.readouterr().err


def test_frames_of_both_splits_are_told(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_small_set(tmp_path / "set")
    (data / "train.txt").write_text((data / "test.txt").read_text())
    evaluated(bundle, data, tmp_path / "report", "--limit", "1", "--device", "cpu")
    assert "3 frames are in both splits of set (PNG), such as 0001" in capsys.readouterr().err


def test_missing_depth_held_out_frames_sizes_and_views_are_in_the_report_and_its_command(
    bundle: Path, tmp_path: Path
) -> None:
    data = write_small_set(tmp_path / "set", frames=41)
    (data / "train.txt").write_text("".join(f"{number:04d}\n" for number in range(41)))
    write_png(tmp_path / "holes/1.depth.png", np.eye(4, dtype=np.uint16))
    options = ["--hold-out", "0.1", "--limit", "2", "--input-size", "64x64", "--multi-scale", "--flip"]
    options += ["--depth-dropout", "0,1", "--depth-holes", str(tmp_path / "holes")]
    report: Any = evaluated(bundle, data, tmp_path / "report", *options)
    assert list(report["missing_depth"]) == ["depth dropout 0", "depth dropout 1", "depth holes of holes"]
    assert report["missing_depth"]["depth dropout 0"]["pixel_accuracy"] == report["pixel_accuracy"]
    expected = {"input_size": [64, 64], "sizes": [[64, 64], [64, 64], [96, 96]], "flip": True, "hold_out": 0.1}
    assert report["settings"] == {"temperature": 1.0, **expected}
    assert (report["split"], report["frames"]) == ("train, held out", 2)
    told = build_parser().parse_args(shlex.split(report["command"])[1:])
    assert told == build_parser().parse_args(
        ["evaluate", str(bundle), "--data", str(data), "-o", str(tmp_path / "report"), *options]
    )
    text = (tmp_path / "report/report.md").read_text()
    assert "| depth dropout 1 |" in text
    assert "Expected calibration error" in text
    assert (tmp_path / "report/reliability.png").stat().st_size > 1000


def test_another_input_size_is_told_and_the_model_is_still_the_same(bundle: Path, data: Path, tmp_path: Path) -> None:
    options = ["--backend", "torch", "--device", "cpu", "--limit", "1", "--input-size", "96x64"]
    from asymformer_ros.models.bundle import ModelBundle

    report: Any = evaluated(bundle, data, tmp_path, *options)
    assert report["settings"]["input_size"] == [96, 64]
    assert "--input-size 96x64" in report["command"]
    assert report["model"]["sha256"] == ModelBundle.load(bundle).sha256


def test_a_report_can_be_compared_with_itself(
    bundle: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = evaluated(bundle, data, tmp_path, "--device", "cpu", "--limit", "1")
    capsys.readouterr()
    assert main(["evaluate", "--compare", str(tmp_path / "report.json"), str(tmp_path / "report.json")]) == 0
    share = f"{report['mean_iou'] * 100:.2f}"  # type: ignore[operator]
    assert ["mean", "iou", share, share, "+0.00"] in [line.split() for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["evaluate"], "evaluate needs MODEL, --data, -o (or --compare A B)"),
        (["--backend", "onnxruntime", "--multi-scale"], "are PyTorch's, not of --backend onnxruntime"),
        (["--backend", "node", "--flip"], "a node runs its model at one size"),
        (["--input-size", "60x96"], "input size must be multiples of 32, got 60x96"),
        (["--hold-out", "0.7"], "the share to hold out is above 0 and at most 0.5, got 0.7"),
        (["--depth-dropout", "3"], "a share of missing depth is 0 to 1, got 3"),
        (["--depth-holes", "nowhere"], "'nowhere' holds no depth image"),
    ],
)
def test_options_that_make_no_sense_take_one_line(
    bundle: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    if words[0] != "evaluate":
        words = ["evaluate", str(bundle), "--data", str(data), "-o", str(tmp_path / "report"), *words]
    assert main(words) == 1
    assert says in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "report").exists()


@pytest.mark.ros
def test_the_node_has_the_scores_of_its_backend(bundle: Path, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="needs ROS")
    words = ["evaluate", str(bundle), "--data", str(data), "--device", "cpu", "--backend"]
    assert main([*words, "auto", "-o", str(tmp_path / "auto")]) == 0
    node = ["node", "-o", str(tmp_path / "node")]
    code = f"from asymformer_ros.cli.main import main\nsys.exit(main({[*words, *node]!r}))"
    answer = subprocess.run([sys.executable, "-c", HERE + code], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    theirs, ours = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("auto", "node"))
    assert ours["backend"] == "node, onnxruntime cpu fp32"
    assert ours["frames_per_second"] > 0
    for key in ("mean_iou", "pixel_accuracy", "confusion_matrix", "calibration", "model", "by_depth"):
        assert ours[key] == theirs[key], key


@pytest.mark.ros
def test_a_node_that_cannot_serve_ends_it_with_the_nodes_own_reason(onnx: Path, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="needs ROS")
    words = ["evaluate", str(onnx), "--data", str(data), "-o", str(tmp_path / "report"), "--backend", "node"]
    code = f"from asymformer_ros.cli.main import main\nsys.exit(main({[*words, '--device', 'cuda']!r}))"
    answer = subprocess.run([sys.executable, "-c", HERE + code], capture_output=True, text=True)
    assert answer.returncode == 1
    assert "segmentation_node ended with code 1: " in answer.stderr.splitlines()[-1]
    assert "device is 'cuda'" in answer.stderr.splitlines()[-1]


def test_the_node_is_given_what_the_command_line_asks_for(
    onnx: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rclpy", reason="needs ROS")

    def child(_: str, options: list[str], *__: object) -> None:
        raise BackendError(" ".join(options))

    monkeypatch.setattr("asymformer_ros.cli.children.Child", child)
    monkeypatch.setattr("asymformer_ros.cli.demo.demo_environment", lambda _: {})
    words = ["evaluate", str(onnx), "--data", str(data), "-o", str(tmp_path / "report"), "--backend", "node"]
    assert main([*words, "--precision", "int8", "--device", "cpu"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert all(given in said for given in (f"model:='{onnx}'", "device:='cpu'", "precision:='int8'"))


def test_auto_waits_for_the_engine() -> None:
    args = build_parser().parse_args(["evaluate", "untrained", "--data", "set", "-o", "report"])
    assert serving_options(args) == ServingOptions("auto", "auto", wait=True)
