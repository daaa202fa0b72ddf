"""Files that users give: what damaged ones did once, and that none of them runs code."""

from __future__ import annotations

import struct
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
import pytest

from asymformer_ros.errors import CheckpointError
from asymformer_ros.frames.images import decode_image


def test_a_png_whose_chunk_claims_4_gigabytes_is_refused_at_once() -> None:
    """OpenCV allocates and clears what a chunk's length says: 12 seconds for these hundred bytes."""
    png = cv2.imencode(".png", np.ones((6, 8), np.uint16))[1].tobytes()
    at = png.index(b"IDAT") - 4
    damaged = png[:at] + struct.pack(">I", 0xF700002E) + png[at + 4 :]
    start = perf_counter()
    assert decode_image(np.frombuffer(damaged, np.uint8), cv2.IMREAD_UNCHANGED) is None
    assert perf_counter() - start < 1


def test_an_onnx_file_with_an_input_of_no_type_is_refused_by_name(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="reads ONNX files")
    from asymformer_ros.models.onnx_file import read_onnx

    value = onnx.helper.make_tensor_value_info
    inputs = [value("rgb", 0, (1, 3, 32, 32)), value("depth", 1, (1, 1, 32, 32))]
    node = onnx.helper.make_node("Identity", ["rgb"], ["y"])
    graph = onnx.helper.make_graph([node], "g", inputs, [value("y", 1, (1, 2, 32, 32))])
    (tmp_path / "odd.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    with pytest.raises(CheckpointError, match=r"odd.onnx has the inputs and outputs rgb of type 0"):
        read_onnx(tmp_path / "odd.onnx")
