"""Every published layout loads, and every other file is refused by name."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from golden import published_state
from safetensors.torch import save_file
from torch import Tensor

from asymformer_ros.errors import CheckpointError
from asymformer_ros.network import AsymFormer, load_checkpoint
from asymformer_ros.network.published import translate_published

State = dict[str, Tensor]


class Foreign:
    """An object that a training script might leave in its checkpoint."""


@cache
def _published() -> State:
    return published_state()


@pytest.fixture
def state() -> State:
    return dict(_published())


def first_release(state: State) -> State:
    renamed = {}
    for key, value in state.items():
        key = key.replace(".SCC.conv_bn.0.", ".SCC.conv1.").replace(".SCC.conv_bn.1.", ".SCC.bn.")
        renamed[key] = value.flatten(1) if re.search(r"linear_c\d\.proj\.weight$", key) else value
    return renamed


def attention_as_convolution(state: State) -> State:
    return {k: v[:, :, None, None] if k.endswith("attn.proj.weight") else v for k, v in state.items()}


def with_constants(state: State) -> State:
    constants = {"fus_atten._extra_state": 1, "fus_atten.inc": 1, "fus_atten.inc_squared": 1, "cross_atten.midc1": 1}
    constants |= {"cross_atten.midc2": 1}
    return state | {f"down_sample_2.SCC.{key}": torch.tensor(value) for key, value in constants.items()}


LAYOUTS: dict[str, Callable[[State], object]] = {
    "bare": lambda state: state,
    "in state_dict": lambda state: {"state_dict": state},
    "in model, beside the optimizer": lambda state: {
        "model": state,
        "epoch": 3,
        "global_step": 100,
        "optimizer": {"state": {0: {"step": 1, "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 5e-5}]},
    },
    "of torch.compile": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    "with a compiled part": lambda state: {
        key.replace("Decoder.", "Decoder._orig_mod."): value for key, value in state.items()
    },
    "of an average of Lightning's": lambda state: {
        "n_averaged": torch.tensor(3),
        **{f"module.model._orig_mod.{key}": value for key, value in state.items()},
    },
    "of several GPUs": lambda state: {"model": {f"module.{key}": value for key, value in state.items()}},
    "of the first release": lambda state: {"state_dict": first_release(state)},
    "with attention as convolution": attention_as_convolution,
    "with constants": with_constants,
    "in half precision": lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
}


def assert_same(network: AsymFormer, expected: State, tolerance: float = 0.0) -> None:
    got = network.state_dict()
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(got[key], value, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_published_layout_loads(layout: str, state: State, tmp_path: Path) -> None:
    torch.save(LAYOUTS[layout](state), tmp_path / "weights.pth")
    network = load_checkpoint(tmp_path / "weights.pth")
    assert not network.training
    assert_same(network, translate_published(state), 1e-3 if layout == "in half precision" else 0.0)


def test_the_old_file_format_of_pytorch_loads(state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "weights.pt", _use_new_zipfile_serialization=False)
    assert_same(load_checkpoint(tmp_path / "weights.pt"), translate_published(state))


def test_published_tensors_in_safetensors_load(state: State, tmp_path: Path) -> None:
    save_file(state, tmp_path / "weights.safetensors")
    assert_same(load_checkpoint(tmp_path / "weights.safetensors"), translate_published(state))


def test_the_number_of_classes_is_read_from_the_file(tmp_path: Path) -> None:
    torch.save(published_state(num_classes=37), tmp_path / "weights.pth")
    assert load_checkpoint(tmp_path / "weights.pth").config.num_classes == 37


def test_translation_uses_every_key_and_no_other(state: State) -> None:
    with torch.device("meta"):
        expected = {key: value.shape for key, value in AsymFormer().state_dict().items()}
    assert {key: value.shape for key, value in translate_published(state).items()} == expected


def without_one(state: State) -> State:
    del state["down_sample_3.SCC.cross_atten.kq1.bias"]
    return state


BROKEN: dict[str, tuple[Callable[[State], object], str]] = {
    "one missing": (without_one, "missing 1: stages.2.fusion.correlate.depth_key_query.bias"),
    "some left over": (
        lambda state: state | {f"head.{i}": torch.ones(1) for i in range(5)},
        "unknown 5: head.0, head.1, head.2 and 2 more",
    ),
    "another shape": (
        lambda state: state | {"down_sample_1.rgb_stem.1.weight": torch.ones(95)},
        r"another shape 1: stages.0.rgb.downsample.1.weight is \(95,\), expected \(96,\)",
    ),
    "two releases at once": (
        lambda state: state | {"down_sample_2.SCC.bn.weight": torch.ones(64)},
        "down_sample_2.SCC.bn.weight is there twice",
    ),
    "not a number": (
        lambda state: state | {"Decoder.linear_pred.bias": torch.full((40,), torch.nan)},
        "NaN or infinite values in 1: decoder.classify.bias",
    ),
    "no tensor": (lambda state: state | {"Decoder.linear_pred.bias": 3}, "Decoder.linear_pred.bias is a int"),
    "no classes": (lambda state: state | {"Decoder.linear_pred.weight": torch.ones(0, 256, 1, 1)}, "num_classes"),
    "another network": (
        lambda _: {"layer1.weight": torch.ones(3)},
        "Decoder.linear_pred.weight is not among its 1: la",
    ),
    "a tensor alone": (lambda _: torch.ones(3), "holds a Tensor, expected the state_dict"),
    "numbers for keys": (lambda _: {1: torch.ones(3)}, "holds a dict, expected the state_dict"),
    "objects beside": (lambda state: {"model": state, "args": Foreign()}, "could run code: refused .*Foreign"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(what: str, state: State, tmp_path: Path) -> None:
    change, message = BROKEN[what]
    torch.save(change(state), tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: download it again"),
        (b"<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning", "web page, not weights"),
        (b"\n  <html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
        (b'{"ep":  {"model": "AsymFormer"}}', "is no checkpoint: it is JSON"),
        (b"\x08\x08\x12\x07pytorch", "is no checkpoint: it is an ONNX model, which is served as it is"),
        (b"\x93NUMPY\x01\x00", "it is a NumPy array"),
        (b"\x89PNG\r\n\x1a\n", "it is a PNG image"),
        (b"\x1f\x8b\x08\x00", "compressed with gzip: unpack it"),
        (b"\x08", "no PyTorch checkpoint"),
        (b"hello world, this is text", "no PyTorch checkpoint"),
        (b"PK\x03\x04 and then nothing", "no PyTorch checkpoint"),
        (b"\x80\x02}q\x00", "no PyTorch checkpoint"),
        (b"\xff\x00\x00\x00\x00\x00\x00\x00{broken", "damaged or truncated"),
        (b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", "no AsymFormer checkpoint"),
    ],
)
def test_a_file_without_weights_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "weights.pth")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_a_truncated_checkpoint_is_refused(zipped: bool, share: float, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"weight": torch.ones(10_000)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_a_truncated_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        load_checkpoint(path)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        load_checkpoint(tmp_path / "nothing.pth")
    with pytest.raises(CheckpointError, match="is a directory"):
        load_checkpoint(tmp_path)


class Exploit:
    """A pickle that would make a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    "save", [lambda obj, path: torch.save(obj, path), lambda o, p: p.write_bytes(pickle.dumps(o, 2))]
)
def test_code_in_a_checkpoint_never_runs(save: Callable[[object, Path], None], tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    save({"state_dict": {}, "args": Exploit(trace)}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "weights.pth")
    assert not trace.exists()
