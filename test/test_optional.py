"""Libraries that not every installation has."""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path

import pytest

from asymformer_ros.errors import DependencyError
from asymformer_ros.optional import BRINGS, importing, installed, require

ROOT = Path(__file__).parents[1]


def test_a_library_that_is_there_is_imported() -> None:
    with importing("scipy", "this test"):
        import json
    assert json.loads("1") == 1


def test_a_missing_library_is_named_with_who_needs_it_and_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    told = "^the test needs onnxruntime, which is not installed here: `pip install onnxruntime`$"
    with pytest.raises(DependencyError, match=told), importing("onnxruntime", "the test"):
        import onnxruntime  # noqa: F401


@pytest.mark.parametrize(
    "raised",
    [
        ImportError("undefined symbol: PyArray"),
        OSError("libcudart.so.12: no such file"),
        RuntimeError("module compiled against ABI version 2"),
        ModuleNotFoundError("No module named 'typing_extensions'", name="typing_extensions"),
    ],
)
def test_a_library_that_fails_to_load_says_why(raised: Exception) -> None:
    told = f"the test needs torch, which is installed but fails to load \\({type(raised).__name__}: {raised}\\)"
    with pytest.raises(DependencyError, match=told) as caught, importing("torch", "the test"):
        raise raised
    assert caught.value.__cause__ is raised


def test_ctrl_c_during_an_import_stays_ctrl_c() -> None:
    with pytest.raises(KeyboardInterrupt), importing("torch", "the test"):
        raise KeyboardInterrupt


def test_all_missing_libraries_are_named_at_once_and_one_advice_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed("numpy")
    require("nothing", "numpy")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not installed("numpy")
    with pytest.raises(DependencyError) as caught:
        require("the simulated world", "trimesh", "embreex", "tqdm")
    assert str(caught.value) == (
        "the simulated world needs trimesh, embreex, tqdm, which are not installed here: "
        "`pip install trimesh embreex` (Embree is there for x86_64 only); "
        "`pip install tqdm`, or `apt install python3-tqdm`"
    )


def test_no_advice_assumes_that_an_index_has_this_package() -> None:
    texts = [path for folder in ("asymformer_ros", "docs") for path in (ROOT / folder).rglob("*.*")]
    for path in (*(path for path in texts if path.suffix in (".py", ".md")), ROOT / "README.md"):
        found = re.search(r"pip install [^`\n]*\basymformer_ros\b", path.read_text())
        assert found is None, f"{path.name}: {found and found.group()}"


def test_every_library_that_an_extra_brings_for_use_has_its_advice() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    for extra in ("torch", "onnx", "sim", "download", "tensorrt", "rtx", "train", "evaluate", "nyuv2", "bags", "fleet"):
        for requirement in config["options.extras_require"][extra].split("\n"):
            name = re.split(r"[<>=;]", requirement)[0].strip()
            assert not name or name in BRINGS, f"{extra} brings {name}"
