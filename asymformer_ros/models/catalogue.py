"""Weights that are known by name, and the files that the name of a model stands for. Needs no PyTorch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from asymformer_ros.errors import CheckpointError
from asymformer_ros.optional import importing, installed
from asymformer_ros.system.files import user_folder

HOW_TO_GET_ONE = (
    "`rooms` comes with the package, and is what an empty name stands for; `asymformer weights download nyuv2` brings "
    "the authors' weights as model `nyuv2`"
)


@dataclass(frozen=True)
class KnownWeights:
    """One set of weights. Its files are `bundle` and `onnx`, of which either may be absent.

    label_set: name of its classes. megabytes: of the bundle. origin: where it comes from, for people; a page for the
    browser where it has to be downloaded. mean_iou: published score in percent, None where there is none. url: of the
    authors' checkpoint, for gdown; "" where the files come with this package.
    """

    name: str
    label_set: str
    megabytes: int
    licence: str
    origin: str
    mean_iou: float | None = None
    url: str = ""

    @property
    def folder(self) -> Path:
        """Where the files are: in this package, or among the user's data."""
        return data_folder() if self.url else Path(__file__).parent / "weights"

    @property
    def bundle(self) -> Path:
        """For PyTorch: ModelBundle.load reads it."""
        return self.folder / f"{self.name}.safetensors"

    @property
    def onnx(self) -> Path:
        """For ONNX Runtime and TensorRT without PyTorch: `read_onnx` reads it."""
        return self.folder / f"{self.name}.onnx"

    def damage(self) -> str:
        """Why the bundle cannot be read, as one that was cut; "" where it can, or is not there. Reads its head."""
        with importing("safetensors", "a bundle"):
            from safetensors import SafetensorError, safe_open
        try:
            if self.bundle.is_file():
                safe_open(self.bundle, "numpy")
        except (SafetensorError, OSError) as error:
            return str(error)
        return ""


_CHECKPOINT = "1Pg6r3eJ245GaKbHfZob0Ek0CVhiS7VaR"  # the authors' file on Google Drive

ROOMS = KnownWeights("rooms", "nyuv2_40", 13, "Apache-2.0", "comes with this package: for a CPU, trained on NYUv2")
DEMO = KnownWeights("demo", "nyuv2_40", 7, "Apache-2.0", "comes with this package: small, trained on simulated rooms")
NYUV2 = KnownWeights(
    "nyuv2",
    "nyuv2_40",
    132,
    "Apache-2.0",
    f"https://drive.google.com/file/d/{_CHECKPOINT}/view",
    mean_iou=54.1,
    url=f"https://drive.google.com/uc?id={_CHECKPOINT}",
)
KNOWN = (ROOMS, DEMO, NYUV2)

UNTRAINED = ("untrained", "untrained_full")
"""Seeded networks without training: small at 256x320, published size at 480x640. Their labels mean nothing."""


@dataclass(frozen=True)
class ModelFiles:
    """What there is to open of a model: a `bundle` for PyTorch, an `onnx` file for the rest; "" for none."""

    bundle: str = ""
    onnx: str = ""

    @property
    def readable(self) -> str:
        """The one that can be read here: the bundle where PyTorch is installed or there is nothing else."""
        has_torch = installed("torch")
        return self.bundle if self.bundle and (has_torch or not self.onnx) else self.onnx


def model_files(model: str) -> ModelFiles:
    """The files of a model: a known name, the path of an .onnx file, or else of a bundle, whether or not it is there.

    An empty name stands for the best model of real rooms that is here. Raises CheckpointError where the files of a
    known one are missing.
    """
    if not model:
        return _files_of(NYUV2 if _can_be_read(NYUV2) else ROOMS)
    model = os.path.expanduser(model)  # a parameter file or quotes keep the shell from doing it
    if model.lower().endswith(".onnx"):
        return ModelFiles(onnx=model)
    for known in KNOWN:
        if model == known.name:
            return _files_of(known)
    return ModelFiles(bundle=model)


def data_folder() -> Path:
    """$XDG_DATA_HOME/asymformer_ros/weights, ~/.local/share/... where that is not set (it must be absolute).

    No cache: an emptied cache fills itself again, these a robot without a network could not get back.
    """
    return user_folder("XDG_DATA_HOME", ".local/share") / "weights"


def _can_be_read(known: KnownWeights) -> bool:
    return known.onnx.is_file() or (known.bundle.is_file() and installed("torch"))


def _files_of(known: KnownWeights) -> ModelFiles:
    bundle, onnx = (str(path) if path.is_file() else "" for path in (known.bundle, known.onnx))
    if bundle or onnx:
        return ModelFiles(bundle, onnx)
    if known.url:
        raise CheckpointError(f"the weights `{known.name}` are not here ({known.bundle} is missing): {HOW_TO_GET_ONE}")
    raise CheckpointError(
        f"this installation lacks the weights `{known.name}` ({known.bundle} and {known.onnx.name} are missing): "
        "install the package again; `asymformer weights download nyuv2` brings the authors' weights"
    )
