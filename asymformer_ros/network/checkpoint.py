"""Weights files to an AsymFormer: every published layout, and this package's own safetensors."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor

from asymformer_ros.errors import CheckpointError, ConfigurationError
from asymformer_ros.network.asymformer import CONVNEXT, AsymFormer, AsymFormerConfig
from asymformer_ros.network.published import CLASSIFIER_KEY, translate_published
from asymformer_ros.system.files import parse_json

CONFIG_KEY = "config"
"""Where a safetensors file's metadata holds the AsymFormerConfig, as JSON."""

_FOREIGN = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "HDF5, as of Keras or MATLAB"),
    (b"\x1f\x8b", "compressed with gzip: unpack it first"),
    (b"MATLAB", "a MATLAB file"),
)
"""First bytes of what is given in place of weights, and what it is."""

_ONNX = re.compile(rb"\x08[\x01-\x3f][\x12\x1a\x22\x28\x32\x3a](?!\0)")
"""ModelProto: field 1, the version of the format, then one of the fields 2 to 7, of text or the graph."""

_EXTRAS = re.compile(r"(^|\.)(n_averaged|total_ops|total_params)$")
"""Of torch.optim.swa_utils and thop, beside the weights."""

_WRAPPERS = ("state_dict", "model")
_DOWNLOAD_AGAIN = "download it again; the links are in docs/weights.md"


def load_checkpoint(path: str | Path) -> AsymFormer:
    """AsymFormer in evaluation mode, float32, on the CPU, filled from a weights file.

    Reads the published .pth files of all releases, bare or wrapped, and this package's .safetensors; what the file is
    is told from its content. The number of classes is read from the file. Every tensor must be there, finite, of the
    expected shape, and nothing may be left over. Code in a pickle is never run.
    Raises CheckpointError otherwise, naming the keys or the reason.
    """
    path = Path(path)
    if not holds_safetensors(path):
        return _from_published(path, _unwrap(path, _unpickle(path)))
    tensors, metadata = read_safetensors(path)
    if CONFIG_KEY not in metadata:
        return _from_published(path, undecorated(tensors))
    return network_from_tensors(path, config_from_json(path, metadata[CONFIG_KEY]), tensors)


def holds_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: eight bytes of length, then JSON.

    Raises CheckpointError where there is no file, or it is plainly no weights file of any kind.
    """
    head = _read_head(path)
    if not head:
        raise CheckpointError(f"{path} is empty: {_DOWNLOAD_AGAIN}")
    if head.lstrip().startswith(b"<"):
        raise CheckpointError(
            f"{path} is a web page, not weights: Google Drive sends one when it does not allow a download. "
            "Open the link in a browser and confirm the download"
        )
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path} is a git LFS pointer, not the weights: run `git lfs pull` where it came from")
    if kind := _foreign_kind(head):
        raise CheckpointError(f"{path} is no checkpoint: it is {kind}")
    return head[8:9] == b"{"


def _foreign_kind(head: bytes) -> str:
    """What a file is by its first bytes, with what to do, where that is another thing than weights; else empty."""
    for magic, kind in _FOREIGN:
        if head.startswith(magic):
            return kind
    if head.lstrip()[:1] in (b"{", b"[") and head.isascii() and b"\0" not in head:
        return "JSON"
    if re.match(_ONNX, head):
        return "an ONNX model, which is served as it is: give it as model, with the ending .onnx"
    return ""


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(512)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; docs/weights.md says where to get weights") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path} is a directory, expected a weights file") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file. Raises CheckpointError where it is damaged."""
    content = path.read_bytes()
    try:
        tensors = load_safetensors(content)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or truncated ({error}): {_DOWNLOAD_AGAIN}") from error
    length = int.from_bytes(content[:8], "little")
    return tensors, json.loads(content[8 : 8 + length]).get("__metadata__") or {}


def read_state(path: Path) -> Mapping[str, object]:
    """The state dict of a weights file of any kind, without what it is wrapped in. Raises CheckpointError."""
    return undecorated(read_safetensors(path)[0]) if holds_safetensors(path) else _unwrap(path, _unpickle(path))


def config_to_json(config: AsymFormerConfig) -> str:
    """Without the name of the RGB branch where it is ConvNeXt: so older versions read it, and hashes stay."""
    fields = asdict(config)
    if config.rgb_backbone == CONVNEXT:
        del fields["rgb_backbone"]
    return json.dumps(fields, sort_keys=True)


def config_from_json(path: Path, text: str) -> AsymFormerConfig:
    """Raises CheckpointError, which names the file, where the text is no AsymFormerConfig."""
    try:
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in parse_json(text).items()}
        return AsymFormerConfig(**fields)
    except (ValueError, TypeError, AttributeError, ConfigurationError) as error:
        raise CheckpointError(f"{path} describes a network that this version cannot build: {error}") from error


def network_from_tensors(path: Path, config: AsymFormerConfig, tensors: Mapping[str, Tensor]) -> AsymFormer:
    """AsymFormer in evaluation mode with exactly these tensors. Raises CheckpointError that names what does not fit."""
    with torch.device("meta"):
        network = AsymFormer(config)
    expected = network.state_dict()
    _check_keys(path, {k: tuple(v.shape) for k, v in expected.items()}, {k: tuple(v.shape) for k, v in tensors.items()})
    loaded = {key: tensors[key].to(reference.dtype).contiguous() for key, reference in expected.items()}
    bad = [key for key, tensor in loaded.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise CheckpointError(f"{path} has NaN or infinite values in {_some(bad)}: use another file")
    network.load_state_dict(loaded, assign=True)
    return network.eval()


Shapes = Mapping[str, tuple[int, ...]]


def differences(expected: Shapes, got: Shapes) -> str:
    """What is missing, unknown or of another shape in `got`, for people; empty where the two are the same."""
    problems = []
    missing, unknown = [k for k in expected if k not in got], [k for k in got if k not in expected]
    misshapen = [f"{k} is {got[k]}, expected {expected[k]}" for k in expected if k in got and got[k] != expected[k]]
    if missing:
        problems.append(f"missing {_some(missing)}")
    if unknown:
        problems.append(f"unknown {_some(unknown)}")
    if misshapen:
        problems.append(f"of another shape {_some(misshapen)}")
    return "; ".join(problems)


def _check_keys(path: Path, expected: Shapes, got: Shapes) -> None:
    if problems := differences(expected, got):
        raise CheckpointError(
            f"{path} does not hold this AsymFormer: {problems}. "
            "Expected the published AsymFormer (B0_T) or a bundle of this package"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)}: {', '.join(names[:3])}{more}"


def _unpickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):
            raise CheckpointError(
                f"{path} holds Python objects beside tensors, and loading those could run code: refused "
                f"({_global_name(str(error))}). Where you trust it, load it with the code that wrote it "
                "and save its state_dict alone"
            ) from error
        raise CheckpointError(f"{path} is no PyTorch checkpoint, or is damaged: {_DOWNLOAD_AGAIN}") from error
    except Exception as error:  # a damaged pickle or archive can raise anything
        raise CheckpointError(
            f"{path} is no PyTorch checkpoint, or is damaged or truncated ({type(error).__name__}): {_DOWNLOAD_AGAIN}"
        ) from error


def _global_name(message: str) -> str:
    """The line of PyTorch's long message that names the refused global."""
    lines = [line.strip() for line in message.splitlines() if "GLOBAL" in line]
    return lines[0].split(" was not")[0] if lines else "unsupported content"


def _unwrap(path: Path, content: object) -> Mapping[str, object]:
    for _ in range(2):
        inner = [content[k] for k in _WRAPPERS if isinstance(content, dict) and isinstance(content.get(k), Mapping)]
        if inner:
            content = inner[0]
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected the state_dict of an AsymFormer")
    return undecorated(content)


def undecorated(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict without what wrappers put before its keys, and without tensors that count something.

    DistributedDataParallel, AveragedModel, Lightning and torch.compile put `module.`, `model.`, `_orig_mod.` and others
    before all keys; torch.compile of a part puts `_orig_mod.` inside.
    """
    names = {key: key.replace("_orig_mod.", "").split(".") for key in state if not _EXTRAS.search(key)}
    shared = 0
    while len(names) > 1 and len({tuple(parts[: shared + 1]) for parts in names.values()}) == 1:
        shared += 1
    return {".".join(parts[shared:]): state[key] for key, parts in names.items()}


def _from_published(path: Path, state: Mapping[str, object]) -> AsymFormer:
    classifiers = [value for key, value in state.items() if key == CLASSIFIER_KEY]
    if not classifiers or not isinstance(classifiers[0], Tensor) or classifiers[0].ndim == 0:
        raise CheckpointError(
            f"{path} is no AsymFormer checkpoint: {CLASSIFIER_KEY} is not among its {_some(list(state))}"
        )
    try:
        return network_from_tensors(path, AsymFormerConfig(len(classifiers[0])), translate_published(state))
    except ConfigurationError as error:
        raise CheckpointError(f"{path} is no AsymFormer checkpoint: {error}") from error
