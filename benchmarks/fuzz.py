"""Feed a reader of users' files with damaged ones until it raises, hangs or takes too much memory.

    scripts/fuzz checkpoint --seconds 180

Needs atheris (`pip install atheris`), which watches the reader's branches to find new ones. What an AsymformerError
refuses is fine; every other exception, ten seconds for one input, and 3 GiB are not: they end the run with a code that
is not 0, and the input lies in the folder given with --crashes. One file as INPUT reads that alone.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import logging
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Reader = Callable[[bytes], None]


def compressed_depth() -> tuple[Reader, list[bytes]]:
    """The payloads of compressedDepth: PNG and RVL, of every encoding."""
    import cv2
    import numpy as np

    from asymformer_ros.errors import FrameError
    from asymformer_ros.frames.depth import decode_compressed_depth

    formats = ("16UC1; compressedDepth png", "32FC1; compressedDepth rvl", "16UC1; png compressed ", "16UC1")

    def read(data: bytes) -> None:
        for form in formats:
            with contextlib.suppress(FrameError):
                decode_compressed_depth(np.frombuffer(data, np.uint8), form)

    png = cv2.imencode(".png", np.arange(48, dtype=np.uint16).reshape(6, 8))[1].tobytes()
    rvl = struct.pack("<ii", 4, 2) + struct.pack("<I", 0x08246000) * 3
    header = struct.pack("<iff", 0, 100.0, 1.0)
    return read, [header + png, header + rvl, png]


def compressed_colour() -> tuple[Reader, list[bytes]]:
    """The payloads of `compressed`: JPEG and PNG."""
    import cv2
    import numpy as np
    from sensor_msgs.msg import CompressedImage

    from asymformer_ros.errors import FrameError
    from asymformer_ros.node.conversions import frame_from_messages, image_message

    depth = image_message(np.ones((6, 8), np.uint16), "16UC1", CompressedImage().header)
    formats = ("jpeg", "rgb8; jpeg compressed rgb8", "bayer_rggb8; png compressed ")

    def read(data: bytes) -> None:
        for form in formats:
            with contextlib.suppress(FrameError):
                frame_from_messages(CompressedImage(format=form, data=data), depth)

    pixels = np.arange(144, dtype=np.uint8).reshape(6, 8, 3)
    return read, [cv2.imencode(ending, pixels)[1].tobytes() for ending in (".jpg", ".png", ".bmp", ".webp")]


def checkpoint() -> tuple[Reader, list[bytes]]:
    """Weights files of any kind, as `asymformer convert` reads them."""
    import torch
    from safetensors.torch import save

    from asymformer_ros.models.bundle import ModelBundle

    def read_file(path: Path) -> None:
        with _refusals():
            ModelBundle.of_checkpoint(path)

    state = {"pred.0.weight": torch.zeros(3, 2), "module.down.bias": torch.ones(2, dtype=torch.float16)}
    saved = []
    for zipped in (True, False):
        file = io.BytesIO()
        torch.save({"state_dict": state}, file, _use_new_zipfile_serialization=zipped)
        saved.append(file.getvalue())
    return _from_file(read_file, ".pth"), [*saved, save(state), b"{}", b"\x89PNG"]


def bundle() -> tuple[Reader, list[bytes]]:
    """Model bundles: safetensors with a configuration and a card."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save

    import asymformer_ros.models
    from asymformer_ros.models.bundle import ModelBundle

    def read_file(path: Path) -> None:
        with _refusals():
            ModelBundle.load(path)

    demo = Path(asymformer_ros.models.__file__).parent / "weights/demo.safetensors"
    with safe_open(demo, "pt") as file:
        metadata = {**file.metadata(), "card": json.dumps(_card())}
    return _from_file(read_file, ".safetensors"), [save({"x": torch.zeros(2)}, metadata), save({}, metadata)]


def onnx() -> tuple[Reader, list[bytes]]:
    """ONNX files: our own exports and the authors' layout."""
    from onnx import TensorProto, helper

    from asymformer_ros.models.onnx_file import read_onnx
    from asymformer_ros.models.signature import FORMAT, VERSION
    from asymformer_ros.onnx_graph.names import CAMERA_INPUTS

    def read_file(path: Path) -> None:
        with _refusals():
            read_onnx(path)

    def model(kind: int, names: tuple[str, ...], shapes: tuple[tuple[int, ...], ...]) -> Any:
        inputs = [helper.make_tensor_value_info(name, kind, shape) for name, shape in zip(names, shapes, strict=True)]
        output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 2, 32, 32))
        weight = helper.make_tensor("w", TensorProto.FLOAT, (2,), (1.0, 2.0))
        node = helper.make_node("Identity", [names[0]], ["logits"])
        return helper.make_model(helper.make_graph([node], "g", inputs, [output], [weight]))

    theirs = model(TensorProto.FLOAT, ("rgb", "depth"), ((1, 3, 32, 32), (1, 1, 32, 32)))
    ours = model(TensorProto.UINT8, tuple(CAMERA_INPUTS), ((1, 32, 32, 3), (1, 32, 32, 2)))
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "card": json.dumps(_card()),
        "model_sha256": "0",
        "precision": "fp32",
    }
    helper.set_model_props(ours, facts)
    return _from_file(read_file, ".onnx"), [theirs.SerializeToString(), ours.SerializeToString()]


def label_set() -> tuple[Reader, list[bytes]]:
    """Label sets in JSON."""
    from asymformer_ros.models.labels import read_label_set

    def read_file(path: Path) -> None:
        with _refusals():
            read_label_set(str(path))

    return _from_file(read_file, ".json"), [json.dumps(_card()["label_set"]).encode()]


TARGETS = {
    target.__name__: target for target in (compressed_depth, compressed_colour, checkpoint, bundle, onnx, label_set)
}


def _card() -> dict[str, Any]:
    from asymformer_ros.models.card import ModelCard
    from asymformer_ros.models.labels import LabelSet
    from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION

    labels = LabelSet("two", ("a", "b"), ((1, 2, 3), (4, 5, 6)))
    return ModelCard("tiny", labels, PUBLISHED_NORMALIZATION, (32, 32)).to_json()


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    from asymformer_ros.errors import AsymformerError

    try:
        yield
    except AsymformerError as error:
        assert "Traceback" not in str(error)


def _from_file(read: Callable[[Path], None], ending: str) -> Reader:
    """A reader of bytes by way of a file, which is removed when the process ends."""
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / f"input{ending}"

    def read_bytes(data: bytes, _kept: object = folder) -> None:
        path.write_bytes(data)
        read(path)

    return read_bytes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("input", type=Path, nargs="?", help="read this file and do nothing else; needs no atheris")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--crashes", type=Path, default=Path("build/fuzz"))
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    if arguments.input:
        TARGETS[arguments.target]()[0](arguments.input.read_bytes())
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("fuzzing needs atheris: `pip install atheris` (Linux x86_64, Python 3.11 to 3.13)", file=sys.stderr)
        return 2
    _fuzz(arguments)
    return 0


def _fuzz(arguments: argparse.Namespace) -> None:
    import atheris

    with atheris.instrument_imports(include=["asymformer_ros"]):
        read, seeds = TARGETS[arguments.target]()
    folder = arguments.crashes / arguments.target
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = (
        f"-max_total_time={arguments.seconds}",
        "-timeout=10",
        "-rss_limit_mb=3072",
        f"-artifact_prefix={folder}/",
    )
    atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", "-max_len=20000", str(corpus)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
