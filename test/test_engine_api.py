"""Every name of TensorRT that the package touches exists in the bindings of each version, or is asked for first."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace

import pytest
from tensorrt_names import API, guarded, has_name, is_guarded, touched, versions_with

from asymformer_ros.engine import api
from asymformer_ros.engine.driver import GpuInfo
from asymformer_ros.errors import BackendError, DependencyError

KNOWN = versions_with()
ALL = set().union(*KNOWN.values())
WEAKLY_TYPED_ONLY = {"BuilderFlag.PREFER_PRECISION_CONSTRAINTS", "ILayer.precision", "ILayer.set_output_type"}


def test_the_table_of_names_is_that_of_the_code() -> None:
    assert set(KNOWN) == set(touched()), "make test/tensorrt_names.json again: see test/tensorrt_names.py"


@pytest.mark.parametrize("name", sorted(touched()))
def test_a_name_exists_in_every_version_or_is_asked_for(name: str) -> None:
    lacking = ALL - KNOWN[name]
    if not lacking or is_guarded(name):
        return
    # Reached only where `precision_in_graph` is false, which asks for BuilderFlag.FP16: those versions have the name.
    assert "FP16" in guarded()
    assert KNOWN["BuilderFlag.FP16"] <= KNOWN[name], f"{name} lacks in {sorted(lacking)}"


def test_what_the_table_says_of_versions_that_matter() -> None:
    assert "11.4.0.106" not in KNOWN["BuilderFlag.FP16"]
    assert "8.6.1" not in KNOWN["NetworkDefinitionCreationFlag.STRONGLY_TYPED"]
    assert "8.6.1" not in KNOWN["IProgressMonitor"]


@pytest.mark.parametrize("library", api.BUILDERS)
def test_the_installed_bindings_have_every_name(library: str) -> None:
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    missing = {name for name in touched() if not has_name(module, name)}
    unguarded = {name for name in missing if not is_guarded(name)}
    assert unguarded <= WEAKLY_TYPED_ONLY


class _Flags:
    STRONGLY_TYPED, EXPLICIT_BATCH = 1, 0


class _Weak:
    FP16 = 0


class _Module:
    """Stands for a version of TensorRT: with or without weak typing."""

    def __init__(self, *, weak: bool) -> None:
        self.BuilderFlag = _Weak if weak else object
        self.NetworkDefinitionCreationFlag = _Flags


@pytest.mark.parametrize(
    ("version", "weak", "in_graph"),
    [
        ("8.6.1", True, False),
        ("10.3.0", True, False),
        ("10.11.0.33", True, False),
        ("10.12.0.36", True, True),
        ("10.16.1.11", True, True),
        ("11.4.0.106", False, True),
        ("1.7.1.116", False, True),
    ],
)
def test_precision_comes_from_the_graph_where_weak_typing_is_deprecated_or_gone(
    version: str, weak: bool, in_graph: bool
) -> None:
    assert api.TensorRt("tensorrt", version, _Module(weak=weak)).precision_in_graph is in_graph


def test_a_library_that_is_not_there_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(DependencyError, match="building and running engines needs tensorrt, .*pip install tensorrt"):
        api.load_library("tensorrt")


@pytest.mark.parametrize("version", ["7.1.3", "8.4.1.5", "8.5.2.2"])
def test_a_tensorrt_that_cannot_have_layer_normalization_is_refused_by_name(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__=version))
    with pytest.raises(BackendError, match=rf"tensorrt {version} is too old: engines need TensorRT 8.6 .* JetPack 6"):
        api.load_library("tensorrt")


@pytest.mark.parametrize("version", ["8.6.0", "8.6.1", "10.3.0", "11.4.0.106"])
def test_a_tensorrt_from_8_6_on_is_taken(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__=version))
    assert api.load_library("tensorrt").version == version


def test_tensorrt_rtx_refuses_a_gpu_that_it_does_not_know() -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    library = api.load_library("tensorrt_rtx")
    assert library.precision_in_graph
    assert library.supports(GpuInfo("NVIDIA GeForce RTX 3090", (8, 6), (12, 4)))
    assert not library.supports(GpuInfo("NVIDIA H200", (9, 0), (12, 4)))


def test_tensorrt_is_imported_in_one_module() -> None:
    package = API.parents[1]
    text = {path.relative_to(package): path.read_text() for path in package.rglob("*.py")}
    importers = [
        str(path) for path, code in text.items() if re.search(r"^\s*(import|from) tensorrt", code, re.MULTILINE)
    ]
    assert importers == ["engine/api.py"]
