"""ROS messages to frames: every encoding, row step and byte order, and what is refused."""

import array
import contextlib
import sys
import types

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sensor_msgs", reason="needs ROS message packages")
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from asymformer_ros.errors import FrameError
from asymformer_ros.frames.messages import image_size
from asymformer_ros.node.conversions import ImageWriter, frame_from_messages, image_message

pytestmark = pytest.mark.ros
RGB = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
MILLIMETRES = np.random.default_rng(2).integers(0, 3, (6, 8)).astype(np.uint16) * 1234
METRES = np.where(MILLIMETRES == 0, np.nan, MILLIMETRES / 1000).astype(np.float32)


def message(pixels: np.ndarray, encoding: str, *, padding: int = 0, big_endian: bool = False) -> Image:
    """An Image as a driver would send it, each row followed by `padding` bytes of rubbish."""
    if big_endian:
        pixels = pixels.astype(pixels.dtype.newbyteorder(">"))
    rows = np.ascontiguousarray(pixels).reshape(pixels.shape[0], -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=199)
    sent = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, step=rows.shape[1])
    sent.is_bigendian = int(big_endian)
    sent.data = array.array("B", rows.tobytes())
    return sent


def compressed(pixels: np.ndarray, extension: str, transport_format: str, prefix: bytes = b"") -> CompressedImage:
    data = prefix + cv2.imencode(extension, pixels)[1].tobytes()
    return CompressedImage(format=transport_format, data=array.array("B", data))


DEPTH = message(MILLIMETRES, "16UC1")


@pytest.mark.parametrize("padding", [0, 1, 13])
@pytest.mark.parametrize(
    ("encoding", "pixels", "expected"),
    [
        ("rgb8", RGB, RGB),
        ("bgr8", RGB[..., ::-1], RGB),
        ("rgba8", np.dstack((RGB, RGB[..., :1])), RGB),
        ("bgra8", np.dstack((RGB[..., ::-1], RGB[..., :1])), RGB),
        ("mono8", RGB[..., 0], np.repeat(RGB[..., :1], 3, axis=2)),
    ],
)
def test_colour_comes_out_as_rgb(encoding: str, pixels: np.ndarray, expected: np.ndarray, padding: int) -> None:
    frame = frame_from_messages(message(pixels, encoding, padding=padding), DEPTH)
    np.testing.assert_array_equal(frame.rgb, expected)


@pytest.mark.parametrize("padding", [0, 1, 8])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(("encoding", "pixels"), [("16UC1", MILLIMETRES), ("mono16", MILLIMETRES), ("32FC1", METRES)])
def test_depth_comes_out_as_metres(encoding: str, pixels: np.ndarray, big_endian: bool, padding: int) -> None:
    sent = message(pixels, encoding, padding=padding, big_endian=big_endian)
    np.testing.assert_allclose(frame_from_messages(message(RGB, "rgb8"), sent).depth, METRES, rtol=1e-6)


def test_uncompressed_rgb8_is_not_copied() -> None:
    sent = message(RGB, "rgb8", padding=5)
    frame = frame_from_messages(sent, DEPTH)
    assert np.shares_memory(frame.rgb, np.frombuffer(sent.data, dtype=np.uint8))


def test_the_last_row_may_lack_its_padding() -> None:
    sent = message(RGB, "rgb8", padding=5)
    sent.data = sent.data[:-5]
    np.testing.assert_array_equal(frame_from_messages(sent, DEPTH).rgb, RGB)


def test_compressed_png_colour_is_exact_and_jpeg_is_near() -> None:
    smooth = cv2.resize(RGB, (64, 48), interpolation=cv2.INTER_CUBIC)
    depth = message(np.ones((48, 64), dtype=np.uint16), "16UC1")
    png = frame_from_messages(compressed(smooth[..., ::-1], ".png", "rgb8; png compressed bgr8"), depth)
    np.testing.assert_array_equal(png.rgb, smooth)
    jpeg = frame_from_messages(compressed(smooth[..., ::-1], ".jpg", "rgb8; jpeg compressed bgr8"), depth)
    assert np.abs(jpeg.rgb.astype(int) - smooth).mean() < 6


@pytest.mark.parametrize(
    ("form", "order"),
    [
        ("png", "bgr"),
        ("rgb8; png compressed bgr8", "bgr"),
        ("rgb8; jpeg compressed rgb8", "rgb"),
        ("rgb8; png compressed rgb8", "rgb"),
    ],
)
def test_the_format_tells_in_which_order_the_encoder_had_the_channels(form: str, order: str) -> None:
    """What image_transport writes after "compressed"; an encoder takes its first channel for blue."""
    sent = compressed(RGB if order == "rgb" else RGB[..., ::-1], ".png", form)
    np.testing.assert_array_equal(frame_from_messages(sent, DEPTH).rgb, RGB)


MOSAICS = {"bayer_rggb8": "rggb", "bayer_bggr8": "bggr", "bayer_gbrg8": "gbrg", "bayer_grbg8": "grbg"}


@pytest.mark.parametrize(("encoding", "pattern"), MOSAICS.items())
@pytest.mark.parametrize("form", ["raw", "jpeg compressed ", "png compressed "])
def test_a_bayer_mosaic_comes_out_in_colour_without_cv_bridge(encoding: str, pattern: str, form: str) -> None:
    colour = {"r": 200, "g": 100, "b": 50}
    tile = np.array([colour[letter] for letter in pattern], np.uint8).reshape(2, 2)
    mosaic = np.tile(tile, (24, 32))
    depth = message(np.ones(mosaic.shape, np.uint16), "16UC1")
    file = ".png" if "png" in form else ".jpg"
    sent = message(mosaic, encoding) if form == "raw" else compressed(mosaic, file, f"{encoding}; {form}")
    rgb = frame_from_messages(sent, depth).rgb[4:-4, 4:-4].reshape(-1, 3)
    assert np.abs(rgb.mean(axis=0) - (200, 100, 50)).max() < (12 if file == ".jpg" else 1)


def test_a_mosaic_that_was_compressed_in_colour_is_read_in_colour() -> None:
    sent = compressed(RGB[..., ::-1], ".png", "bayer_rggb8; png compressed bgr8")
    np.testing.assert_array_equal(frame_from_messages(sent, DEPTH).rgb, RGB)


@pytest.mark.parametrize("form", ["16UC1; png compressed ", "mono16; png compressed", "png"])
def test_depth_as_a_png_of_16_bit_on_the_compressed_transport_is_millimetres(form: str) -> None:
    frame = frame_from_messages(message(RGB, "rgb8"), compressed(MILLIMETRES, ".png", form))
    np.testing.assert_allclose(frame.depth, METRES, rtol=1e-6)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_a_cut_image_is_refused_by_every_version_of_opencv(extension: str, share: float) -> None:
    noise = np.random.default_rng(4).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    whole = cv2.imencode(extension, noise)[1].tobytes()
    depth = message(np.ones((120, 160), np.uint16), "16UC1")
    sent = CompressedImage(format="jpeg", data=array.array("B", whole[: int(share * len(whole))]))
    with pytest.raises(FrameError, match="cannot be decoded"):
        frame_from_messages(sent, depth)
    padded = CompressedImage(format="jpeg", data=array.array("B", whole + bytes(64)))  # as some USB cameras send it
    assert frame_from_messages(padded, depth).size == (120, 160)


@pytest.mark.parametrize(
    ("info", "size"),
    [
        (CameraInfo(width=640, height=480), (480, 640)),
        (CameraInfo(width=640, height=480, binning_x=2, binning_y=2), (240, 320)),
        (CameraInfo(width=640, height=480, roi=RegionOfInterest(width=320, height=100)), (100, 320)),
        (CameraInfo(width=640, height=480, binning_x=2, roi=RegionOfInterest(width=320, height=100)), (100, 160)),
    ],
)
def test_a_calibration_is_for_images_of_its_region_binned(info: CameraInfo, size: tuple[int, int]) -> None:
    assert image_size(info) == size


def test_compressed_depth_is_decoded() -> None:
    sent = compressed(MILLIMETRES, ".png", "16UC1; compressedDepth png", prefix=bytes(12))
    np.testing.assert_allclose(frame_from_messages(message(RGB, "rgb8"), sent).depth, METRES, rtol=1e-6)


def test_depth_of_the_same_aspect_ratio_is_brought_to_the_colour_size() -> None:
    half = message(MILLIMETRES[::2, ::2], "16UC1")
    frame = frame_from_messages(message(RGB, "rgb8"), half)
    np.testing.assert_allclose(frame.depth, METRES[::2, ::2].repeat(2, 0).repeat(2, 1), rtol=1e-6)


@pytest.mark.parametrize(
    ("rgb", "depth", "told"),
    [
        (message(RGB, "16UC3"), DEPTH, "'16UC3'.*rgb8"),
        (message(RGB, ""), DEPTH, "encoding ''"),
        (message(RGB, "rgb8"), message(RGB, "rgb8"), "depth image has encoding 'rgb8'.*16UC1"),
        (message(RGB, "rgb8"), message(MILLIMETRES, "64FC1"), "'64FC1'"),
        (message(RGB, "rgb8"), message(MILLIMETRES[:, :5], "16UC1"), "8x6 but depth is 5x6.*registered"),
        (Image(encoding="rgb8"), DEPTH, "empty: 0x0"),
        (Image(encoding="rgb8", width=8, height=6, step=24), DEPTH, "0 bytes: expected"),
        (Image(encoding="rgb8", width=8, height=6, step=3, data=array.array("B", bytes(144))), DEPTH, "step 3"),
        (CompressedImage(format="jpeg"), DEPTH, "'jpeg' and 0 bytes"),
        (CompressedImage(format="h264", data=array.array("B", b"\0\0\0\1junk")), DEPTH, "'h264'.*JPEG or PNG"),
        (message(RGB, "rgb8"), compressed(RGB, ".jpg", "jpeg"), "JPEG cannot hold depth"),
        (compressed(MILLIMETRES, ".png", "16UC1; png compressed "), DEPTH, "depth or infrared on the colour topic"),
        (message(RGB, "rgb8"), compressed(RGB, ".png", "rgb8; png compressed bgr8"), "uint8 image of shape"),
        (message(RGB[:1, :1, 0], "bayer_rggb8"), DEPTH, "too small for its pattern"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(rgb: object, depth: object, told: str) -> None:
    with pytest.raises(FrameError, match=told):
        frame_from_messages(rgb, depth)


def test_an_uncommon_encoding_without_cv_bridge_names_cv_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    with pytest.raises(FrameError, match="'bayer_rggb16' of the colour image needs cv_bridge"):
        frame_from_messages(message(RGB[..., 0], "bayer_rggb16"), DEPTH)


def test_an_uncommon_encoding_goes_through_cv_bridge_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    class CvBridge:  # stands in for a package that is not on the package index
        def imgmsg_to_cv2(self, sent: Image, encoding: str) -> np.ndarray:
            if sent.encoding == "yuv422":
                raise TypeError("unsupported")
            return np.full((sent.height, sent.width, 3), 7, dtype=np.uint8)

    monkeypatch.setitem(sys.modules, "cv_bridge", types.SimpleNamespace(CvBridge=CvBridge))
    assert (frame_from_messages(message(RGB[..., 0], "bayer_rggb16"), DEPTH).rgb == 7).all()
    with pytest.raises(FrameError, match="cannot convert encoding 'yuv422'"):
        frame_from_messages(message(RGB[..., :2], "yuv422"), DEPTH)


@settings(deadline=None)
@given(
    st.binary(max_size=200),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(0, 100),
    st.sampled_from(["rgb8", "bgra8", "mono8"]),
)
def test_random_layouts_give_a_frame_or_a_frame_error(
    data: bytes, width: int, height: int, step: int, encoding: str
) -> None:
    rgb = Image(encoding=encoding, width=width, height=height, step=step, data=array.array("B", data))
    depth = message(np.ones((max(height, 1), max(width, 1)), dtype=np.uint16), "16UC1")
    with contextlib.suppress(FrameError):
        assert frame_from_messages(rgb, depth).size == (height, width)


@pytest.mark.parametrize(
    ("shape", "kind", "encoding", "step"),
    [
        ((3, 5), "u1", "mono8", 5),
        ((3, 5, 3), "u1", "rgb8", 15),
        ((3, 5), "u2", "16UC1", 10),
        ((3, 5), "f4", "32FC1", 20),
    ],
)
def test_an_image_message_carries_pixels_header_and_layout(
    shape: tuple[int, ...], kind: str, encoding: str, step: int
) -> None:
    pixels = np.arange(np.prod(shape), dtype=kind).reshape(shape)
    header = Header(frame_id="camera_color_optical_frame")
    header.stamp.sec, header.stamp.nanosec = 12, 345
    sent = image_message(pixels[::-1], encoding, header)
    assert (sent.height, sent.width, sent.step, sent.encoding, sent.is_bigendian) == (3, 5, step, encoding, 0)
    assert sent.header == header
    assert bytes(sent.data) == pixels[::-1].tobytes()


@pytest.mark.parametrize(
    ("rgb", "depth"),
    [
        (message(RGB, "rgb8"), DEPTH),
        (message(RGB[..., 0], "bayer_rggb16"), DEPTH),
        (message(RGB[:2, :2], "rgb8"), DEPTH),
        (compressed(RGB, ".png", "bgr8; png compressed bgr8"), DEPTH),
        (compressed(RGB, ".jpg", "jpeg"), DEPTH),
        (message(RGB[:2, :2], "rgb8"), compressed(MILLIMETRES, ".png", "16UC1; compressedDepth png", bytes(12))),
        (message(RGB[:2, :2], "rgb8"), compressed(MILLIMETRES, ".png", "16UC1; png compressed ")),
    ],
)
def test_an_image_of_more_pixels_than_allowed_is_refused_before_it_is_decoded(rgb: object, depth: object) -> None:
    with pytest.raises(FrameError, match=r"8x6 pixels: at most 47 are taken \(the node's parameter max_pixels\)"):
        frame_from_messages(rgb, depth, max_pixels=47)


@pytest.mark.parametrize("extension", [".bmp", ".webp"])
def test_compressed_images_are_png_or_jpeg_whose_size_is_known_before_they_are_decoded(extension: str) -> None:
    with pytest.raises(FrameError, match="expected a whole JPEG or PNG image"):
        frame_from_messages(compressed(RGB, extension, "png"), DEPTH)


def test_one_message_takes_image_after_image_of_any_size() -> None:
    writer = ImageWriter("rgb8")
    for value, size in ((1, (2, 3)), (2, (2, 3)), (3, (4, 5))):
        before = writer.message(Header()).data
        writer.pixels((*size, 3))[:] = value
        sent = writer.message(Header(frame_id=str(value)))
        assert (sent.height, sent.width, sent.step, sent.encoding) == (*size, 3 * size[1], "rgb8")
        assert (bytes(sent.data), sent.header.frame_id) == (bytes([value]) * (3 * size[0] * size[1]), str(value))
        assert (sent.data is before) == (value == 2)
