"""Depth: units, invalid values, compressed forms."""

import contextlib
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from asymformer_ros.errors import FrameError
from asymformer_ros.frames.depth import (
    decode_compressed_depth,
    decode_rvl,
    depth_bytes,
    depth_metres,
    depth_millimetres,
    metres_from_float,
    metres_from_millimetres,
)

HEADER = struct.pack("<iff", 0, 0.0, 0.0)
small_depth = hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))
holey_depth = small_depth.map(lambda depth: np.where(depth % 3 == 0, 0, depth).astype(np.uint16))


def encode_rvl(image: np.ndarray) -> bytes:
    """RVL as its paper describes it, one pixel after the other."""
    nibbles: list[int] = []

    def put(value: int) -> None:
        while True:
            digit, value = value & 7, value >> 3
            nibbles.append(digit | (8 if value else 0))
            if not value:
                return

    pixels, at, previous = [int(value) for value in image.reshape(-1)], 0, 0
    while at < len(pixels):
        start = at
        while at < len(pixels) and pixels[at] == 0:
            at += 1
        put(at - start)
        start = at
        while at < len(pixels) and pixels[at] != 0:
            at += 1
        put(at - start)
        for value in pixels[start:at]:
            difference, previous = value - previous, value
            put(difference * 2 if difference >= 0 else -difference * 2 - 1)
    nibbles += [0] * (-len(nibbles) % 8)
    words = [int("".join(f"{digit:x}" for digit in nibbles[n : n + 8]), 16) for n in range(0, len(nibbles), 8)]
    return struct.pack("<ii", image.shape[1], image.shape[0]) + struct.pack(f"<{len(words)}I", *words)


def as_bytes(data: bytes) -> np.ndarray:
    return np.frombuffer(data, dtype=np.uint8)


@given(small_depth)
def test_millimetres_become_metres_and_zero_becomes_nan(depth: np.ndarray) -> None:
    metres = metres_from_millimetres(depth)
    assert metres.dtype == np.float32
    assert np.array_equal(np.isnan(metres), depth == 0)
    np.testing.assert_allclose(metres[depth > 0], depth[depth > 0] / 1000, rtol=1e-6)


def test_zero_negative_infinite_and_nan_metres_are_unknown_and_the_input_stays() -> None:
    depth = np.array([[0.0, -1.0, np.inf, -np.inf, np.nan, 3e38, 1.5]], dtype=np.float32)
    before = depth.copy()
    np.testing.assert_array_equal(metres_from_float(depth), np.array([[np.nan] * 6 + [1.5]], dtype=np.float32))
    np.testing.assert_array_equal(depth, before)


@settings(deadline=None)
@given(holey_depth)
def test_rvl_decodes_to_what_was_encoded(depth: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_rvl(as_bytes(encode_rvl(depth))), depth)


@settings(deadline=None)
@given(
    holey_depth, st.sampled_from(["16UC1; compressedDepth", "16UC1; compressedDepth png", "mono16; compressedDepth"])
)
def test_compressed_png_gives_the_metres_of_the_raw_image(depth: np.ndarray, transport_format: str) -> None:
    png = cv2.imencode(".png", depth)[1].tobytes()
    np.testing.assert_array_equal(
        decode_compressed_depth(as_bytes(HEADER + png), transport_format), metres_from_millimetres(depth)
    )


def test_compressed_float_depth_undoes_the_inverse_quantisation() -> None:
    metres = np.array([[0.5, 2.0, 8.0, np.nan]], dtype=np.float32)
    quant_a, quant_b = 100.0 * 101.0, 1.0 - 100.0 * 101.0 / 10.0  # depth_quantization 100, depth_max 10
    quantised = np.where(np.isnan(metres), 0, quant_a / metres + quant_b).round().astype(np.uint16)
    data = struct.pack("<iff", 0, quant_a, quant_b) + cv2.imencode(".png", quantised)[1].tobytes()
    decoded = decode_compressed_depth(as_bytes(data), "32FC1; compressedDepth png")
    np.testing.assert_allclose(decoded, metres, rtol=0.01)


@pytest.mark.parametrize(
    ("data", "transport_format", "told"),
    [
        (b"\xff\xd8" * 50, "jpeg", "JPEG cannot hold depth"),
        (b"\xff\xd8" * 50, "16UC1; jpeg compressed", "compressedDepth"),
        (HEADER + b"x", "8UC1; compressedDepth", "8UC1"),
        (b"short", "16UC1; compressedDepth", "5 bytes"),
        (HEADER + b"\x89PNG\r\n\x1a\n" + b"junk" * 9, "16UC1; compressedDepth png", "damaged PNG"),
        (HEADER + b"rubbish" * 9, "16UC1; compressedDepth png", "neither a PNG nor an RVL"),
        (HEADER + struct.pack("<ii", 640, 480), "16UC1; compressedDepth rvl", "0 of 307200 pixels"),
        (HEADER + struct.pack("<ii", 64, 48) + b"\xff" * 64, "16UC1; compressedDepth rvl", "of 3072 pixels"),
        (HEADER + struct.pack("<ii", 2, 2) + b"\x77" * 64, "16UC1; compressedDepth rvl", "exactly"),
    ],
)
def test_damaged_or_foreign_compressed_depth_is_refused_with_the_reason(
    data: bytes, transport_format: str, told: str
) -> None:
    with pytest.raises(FrameError, match=told):
        decode_compressed_depth(as_bytes(data), transport_format)


@settings(deadline=None)
@given(holey_depth, st.data())
def test_a_damaged_rvl_stream_gives_an_error_or_an_image_but_never_another_exception(
    depth: np.ndarray, data: st.DataObject
) -> None:
    stream = bytearray(encode_rvl(depth))
    position = data.draw(st.integers(8, max(8, len(stream) - 1)))
    if position < len(stream):
        stream[position] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(FrameError):
        assert decode_rvl(as_bytes(bytes(stream[: data.draw(st.integers(8, len(stream)))]))).shape == depth.shape


@given(small_depth)
def test_depth_bytes_are_the_millimetres_of_the_camera(millimetres: np.ndarray) -> None:
    packed = depth_bytes(metres_from_millimetres(millimetres))
    assert (packed.shape, packed.dtype) == ((*millimetres.shape, 2), np.uint8)
    np.testing.assert_array_equal(packed[..., 0] + 256 * packed[..., 1].astype(np.uint16), millimetres)


@pytest.mark.parametrize(
    ("metres", "low_and_high"),
    [(np.nan, (0, 0)), (1.0, (0xE8, 3)), (0.2564, (0, 1)), (0.0004, (0, 0)), (65.5351, (255, 255)), (1e9, (255, 255))],
)
def test_depth_bytes_are_rounded_and_held_within_two_bytes(metres: float, low_and_high: tuple[int, int]) -> None:
    depth = np.full((1, 1), metres, dtype=np.float32)
    assert tuple(depth_bytes(depth)[0, 0]) == low_and_high
    np.testing.assert_array_equal(depth, np.full((1, 1), metres, dtype=np.float32))


@given(holey_depth)
def test_millimetres_pass_unconverted_and_metres_bring_the_same_ones_back(millimetres: np.ndarray) -> None:
    metres = depth_metres(millimetres)
    np.testing.assert_array_equal(np.isnan(metres), millimetres == 0)
    np.testing.assert_array_equal(depth_millimetres(metres), millimetres)
    np.testing.assert_array_equal(depth_bytes(metres), depth_bytes(millimetres))
    assert np.shares_memory(depth_bytes(millimetres), millimetres) or not millimetres.size
    assert depth_metres(metres) is metres
