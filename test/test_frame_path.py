"""Whatever a pair of messages holds, the frame path lives, accounts for it, and serves the next good pair."""

from __future__ import annotations

import array
import struct
import time
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs ROS")
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from asymformer_ros.errors import BackendError
from asymformer_ros.inference.backend import Prediction
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.inference.smoothing import TemporalSmoothing
from asymformer_ros.node import inputs as inputs_module
from asymformer_ros.node.conversions import image_message
from asymformer_ros.node.filters import SimpleFilter
from asymformer_ros.node.frame_path import FramePath
from asymformer_ros.node.health import Health
from asymformer_ros.node.inputs import Inputs, Pair
from asymformer_ros.node.points import CloudWriter
from asymformer_ros.node.serving import Opened, Serving

pytestmark = pytest.mark.ros
GOOD_RGB = image_message(np.zeros((6, 8, 3), np.uint8), "rgb8", Header(stamp=Time(sec=100)))
GOOD_DEPTH = image_message(np.ones((6, 8), np.uint16), "16UC1", Header(stamp=Time(sec=100)))
PNG = cv2.imencode(".png", np.ones((6, 8), np.uint16))[1].tobytes()
HUGE_PNG = PNG[:16] + struct.pack(">II", 1 << 16, 1 << 15) + PNG[24:]


class Log:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def warning(self, text: str) -> None:
        self.told.append(text)

    info = error = warning


class Backend:
    """Answers class 0 everywhere, or raises what it is given for the next call."""

    name = model_sha256 = "stand-in"
    card = SimpleNamespace(name="stand-in", input_size=(4, 4), label_set=None)

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.gives_scores = True

    def infer(
        self, rgb: NDArray[np.uint8], depth: NDArray[np.float32], *, with_confidence: bool = False, smoothing: Any = ()
    ) -> Prediction:
        error, self.error = self.error, None
        if error is not None:
            raise error
        if (rgb == 66).all(axis=(1, 2, 3)).any():
            raise RuntimeError("a frame of 66 is in this batch")
        for stream, *image in zip(smoothing, rgb, depth, strict=False):
            if self.gives_scores:
                stream.blend(np.zeros((2, 4, 4), np.float32), *image)
        return Prediction(np.zeros(depth.shape, np.uint8), np.zeros(depth.shape, np.uint8))

    def close(self) -> None:
        pass


class Outputs:
    """Takes what is published, or raises."""

    def __init__(self) -> None:
        self.published: list[Any] = []
        self.error: Exception | None = None

    def wanted(self) -> bool:
        return True

    def wants_confidence(self) -> bool:
        return True

    def wants_points(self) -> bool:
        return True

    def publish(self, *served: Any) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error
        self.published.append(served)


class Bench:
    """The frame path and the inputs of some cameras, without ROS beneath them."""

    def __init__(self, cameras: int = 1) -> None:
        self.log, self.backend = Log(), Backend()
        self.cameras: Any = [
            SimpleNamespace(
                outputs=Outputs(), health=Health(self.log), converted=lambda depth: None, smoothing=TemporalSmoothing()
            )  # type: ignore[arg-type]
            for _ in range(cameras)
        ]
        self.settings = SimpleNamespace(
            max_age=0.0,
            max_pixels=1 << 24,
            min_confidence=0.0,
            overlay_alpha=0.5,
            temporal_smoothing=True,
            slop=0.02,
            pair_timeout=1.0,
            synchronizer="nearest_stamp",
        )
        node: Any = SimpleNamespace(
            context=SimpleNamespace(ok=lambda: True),
            get_clock=lambda: SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=100_500_000_000)),
        )
        self.path = FramePath(node, lambda: self.settings, Serving(Opened(Segmenter(self.backend))), self.cameras)  # type: ignore

    def handle(self, *pairs: Pair) -> None:
        self.path.handle(dict(enumerate(pairs)))

    def counts(self, camera: int = 0) -> dict[str, int]:
        return dict(self.cameras[camera].health.counts)


def compressed(data: bytes, form: str) -> CompressedImage:
    return CompressedImage(header=GOOD_RGB.header, format=form, data=array.array("B", data))


@pytest.mark.parametrize(
    ("rgb", "depth", "kind", "told"),
    [
        (
            GOOD_RGB,
            compressed(bytes(12) + HUGE_PNG, "16UC1; compressedDepth png"),
            "refused",
            "65536x32768 pixels: at most",
        ),
        (compressed(HUGE_PNG, "bgr8; png compressed bgr8"), GOOD_DEPTH, "refused", "65536x32768 pixels: at most"),
        (compressed(PNG[: len(PNG) // 2], "png"), GOOD_DEPTH, "refused", "cannot be decoded"),
        (
            Image(encoding="rgb8", width=2**32 - 1, height=2**32 - 1),
            GOOD_DEPTH,
            "refused",
            "x4294967295 pixels",
        ),
        (Image(encoding="rgb8", width=8, height=6, step=24), GOOD_DEPTH, "refused", "0 bytes"),
    ],
)
def test_what_cannot_become_a_frame_is_refused_by_name_and_the_next_is_served(
    rgb: Any, depth: Any, kind: str, told: str
) -> None:
    bench = Bench()
    bench.handle(Pair(rgb, depth, None))
    assert bench.counts() == {kind: 1}
    (line,) = bench.log.told
    assert told in line
    bench.handle(Pair(GOOD_RGB, GOOD_DEPTH, None))
    assert bench.counts() == {kind: 1, "published": 1}


@pytest.mark.parametrize(("side", "told"), [(6000, "6000x6000 pixels: at most 16777216"), (8, "cannot be decoded")])
def test_a_png_of_100_megabytes_costs_its_own_frame_at_most(side: int, told: str) -> None:
    """Noise beside the pixels: of an image that is refused before it is decoded, or of a small one (by some OpenCV)."""
    noise = struct.pack(">I4s", 100 << 20, b"noIs") + bytes(100 << 20) + bytes(4)
    png = PNG[:16] + struct.pack(">II", side, side) + PNG[24:33] + noise + PNG[33:]
    bench = Bench()
    bench.handle(Pair(compressed(png, "bgr8; png compressed bgr8"), GOOD_DEPTH, None))
    bench.handle(Pair(GOOD_RGB, GOOD_DEPTH, None))
    if side == 6000 or bench.log.told:
        assert bench.counts() == {"refused": 1, "published": 1}
        assert told in bench.log.told[0]
    else:
        assert bench.counts() == {"published": 2}


def test_a_negative_stamp_that_reaches_the_frame_path_is_no_error() -> None:
    bench = Bench()
    bench.settings.max_age = 1000.0
    rgb = image_message(np.zeros((6, 8, 3), np.uint8), "rgb8", Header(stamp=Time(sec=-1, nanosec=600_000_000)))
    bench.handle(Pair(rgb, GOOD_DEPTH, None))
    assert bench.counts() == {"published": 1}


@pytest.mark.parametrize("error", [BackendError("device lost"), RuntimeError("a defect"), MemoryError()])
def test_what_the_network_or_a_publisher_raises_costs_that_frame_alone(error: Exception) -> None:
    bench = Bench()
    good = Pair(GOOD_RGB, GOOD_DEPTH, None)
    bench.backend.error = error
    bench.handle(good)
    bench.cameras[0].outputs.error = error
    bench.handle(good)
    bench.handle(good)
    assert bench.counts() == {"failed": 2, "published": 1}
    assert sum("Traceback" in text for text in bench.log.told) == (0 if isinstance(error, BackendError) else 1)


def test_one_camera_s_frame_does_not_cost_the_others_theirs() -> None:
    bench = Bench(cameras=3)
    good = Pair(GOOD_RGB, GOOD_DEPTH, None)
    broken = image_message(np.full((6, 8, 3), 66, np.uint8), "rgb8", GOOD_RGB.header)
    bench.handle(good, Pair(broken, GOOD_DEPTH, None), good)
    assert [bench.counts(camera) for camera in range(3)] == [{"published": 1}, {"failed": 1}, {"published": 1}]
    bench.handle(good, Pair(GOOD_RGB, Image(), None), good)
    assert [bench.counts(camera)["published"] for camera in (0, 2)] == [2, 2]
    assert bench.counts(1) == {"failed": 1, "refused": 1}


def test_each_camera_says_whether_it_is_smoothed_and_why_not_once() -> None:
    bench, good = Bench(cameras=2), Pair(GOOD_RGB, GOOD_DEPTH, None)
    bench.handle(good, good)
    assert [camera.smooths for camera in bench.cameras] == ["on", "on"]
    assert not bench.log.told
    bench.backend.gives_scores = False
    for _ in range(2):
        bench.handle(good)
    assert bench.cameras[0].smooths == "impossible: stand-in gives labels and no scores"
    assert bench.log.told == ["temporal_smoothing is impossible: stand-in gives labels and no scores"]
    bench.settings.temporal_smoothing = False
    bench.handle(good)
    assert [camera.smooths for camera in bench.cameras] == ["off", "on"]


Stamps = st.builds(Time, sec=st.integers(-(2**31), 2**31 - 1), nanosec=st.integers(0, 2**32 - 1))
Headers = st.builds(Header, stamp=Stamps | st.just(Time(sec=100)), frame_id=st.text(max_size=8))
Unsigned = st.integers(0, 12) | st.integers(0, 2**32 - 1)
Encodings = st.sampled_from(
    ["rgb8", "bgr8", "rgba8", "mono8", "16UC1", "mono16", "32FC1", "bayer_rggb8", "yuv422", "8UC7", ""]
) | st.text(max_size=10)
Images = st.builds(
    Image,
    header=Headers,
    height=Unsigned,
    width=Unsigned,
    encoding=Encodings,
    is_bigendian=st.integers(0, 255),
    step=Unsigned,
    data=st.binary(max_size=400).map(lambda data: array.array("B", data)),
)


def _encoded(extension: str, pixels: NDArray[Any]) -> bytes:
    return cv2.imencode(extension, pixels)[1].tobytes()


_FILES = [
    _encoded(".jpg", np.full((6, 8, 3), 7, np.uint8)),
    _encoded(".png", np.full((6, 8, 3), 7, np.uint8)),
    _encoded(".webp", np.full((6, 8, 3), 7, np.uint8)),
    _encoded(".bmp", np.full((6, 8), 7, np.uint8)),
    PNG,
    HUGE_PNG,
]


@st.composite
def payloads(draw: Any) -> array.array[int]:
    """Bytes of an image file, damaged in some places, cut, or rubbish; with or without compressedDepth's header."""
    data = bytearray(draw(st.sampled_from(_FILES) | st.binary(max_size=60)))
    for at, byte in draw(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4)):
        if at < len(data):
            data[at] = byte
    cut = draw(st.none() | st.integers(0, 400))
    return array.array("B", draw(st.sampled_from([b"", bytes(12), b"\xff" * 12])) + bytes(data[:cut]))


Formats = st.sampled_from(
    [
        "jpeg",
        "png",
        "rgb8; jpeg compressed bgr8",
        "rgb8; jpeg compressed rgb8",
        "bayer_rggb8; jpeg compressed ",
        "16UC1; png compressed ",
        "16UC1; compressedDepth png",
        "32FC1; compressedDepth png",
        "16UC1; compressedDepth rvl",
        "",
    ]
) | st.text(max_size=20)
Compressed = st.builds(CompressedImage, header=Headers, format=Formats, data=payloads())
Regions = st.builds(RegionOfInterest, x_offset=Unsigned, y_offset=Unsigned, height=Unsigned, width=Unsigned)
Infos = st.none() | st.builds(
    CameraInfo,
    height=st.just(6) | Unsigned,
    width=st.just(8) | Unsigned,
    binning_x=Unsigned,
    binning_y=Unsigned,
    roi=st.just(RegionOfInterest()) | Regions,
    k=st.lists(st.floats(), min_size=9, max_size=9),
    p=st.just([0.0] * 12) | st.lists(st.floats(), min_size=12, max_size=12),
)
AnyPairs = st.builds(Pair, rgb=Images | Compressed, depth=st.none() | Images | Compressed, camera_info=Infos)
NearlyGood = st.builds(Pair, rgb=st.just(GOOD_RGB), depth=st.just(GOOD_DEPTH) | Images | Compressed, camera_info=Infos)


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(AnyPairs | NearlyGood, st.floats(0, 1000))
def test_any_pair_is_published_or_counted_and_the_next_one_is_served(pair: Pair, max_age: float) -> None:
    bench = Bench()
    bench.settings.max_age = max_age
    bench.handle(pair)
    counts = bench.counts()
    assert sum(counts.values()) == 1
    assert "Traceback" not in "".join(bench.log.told)
    for result, _ in bench.cameras[0].outputs.published:
        if result.intrinsics is not None:
            cloud = CloudWriter().message(result.header, result.segmentation, result.intrinsics)
            assert len(cloud.data) == cloud.height * cloud.row_step
    bench.settings.max_age = 0.0
    bench.handle(Pair(GOOD_RGB, GOOD_DEPTH, None))
    assert bench.counts().get("published", 0) == counts.get("published", 0) + 1


class Subscriptions:
    """A node that hands out its subscriptions' callbacks by topic."""

    def __init__(self) -> None:
        self.filters: dict[str, Any] = {}

    def destroy_subscription(self, subscription: Any) -> None:
        """As of a node."""

    def subscriber(self, node: Any, message_type: type, topic: str, **options: Any) -> Any:
        self.filters[topic] = made = SimpleFilter()
        policies = SimpleNamespace(reliability=SimpleNamespace(name=""), durability=SimpleNamespace(name=""))
        made.sub = SimpleNamespace(topic_name=topic, msg_type=message_type, qos_profile=policies)  # type: ignore
        return made


def inputs_of(health: Health, pairs: list[Pair], depth_timeout: float) -> tuple[Subscriptions, Inputs]:
    """Inputs that go on with colour alone, and what they subscribe to."""
    topics = Subscriptions()
    settings_now: Any = SimpleNamespace(
        slop=0.02,
        pair_timeout=1.0,
        synchronizer="nearest_stamp",
        allow_rgb_only=True,
        depth_timeout=depth_timeout,
        image_transport="raw",
        depth_image_transport="raw",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs_module, "Subscriber", topics.subscriber)
        inputs = Inputs(topics, "", settings_now, health, pairs.append)  # type: ignore[arg-type]
        inputs.pause()
        time.sleep(2 * depth_timeout)
        inputs.resume()
    return topics, inputs


def test_depth_s_silence_counts_from_when_the_camera_was_taken_again() -> None:
    health, pairs = Health(Log()), []  # type: ignore[arg-type]
    topics, _ = inputs_of(health, pairs, depth_timeout=0.5)
    for number in range(10):
        topics.filters["rgb/image"].signalMessage(Image(header=Header(stamp=Time(sec=number))))
    assert not pairs


@settings(deadline=None, max_examples=200)
@given(arrivals=st.lists(st.tuples(st.sampled_from(["rgb/image", "depth/image"]), Headers), max_size=30))
def test_no_stamp_makes_a_callback_raise(arrivals: list[tuple[str, Header]]) -> None:
    health, pairs = Health(Log()), []  # type: ignore[arg-type]
    topics, _ = inputs_of(health, pairs, depth_timeout=0.0)
    for topic, header in arrivals:
        topics.filters[topic].signalMessage(Image(header=header))
    negative = sum(header.stamp.sec * 10**9 + header.stamp.nanosec < 0 for _, header in arrivals)
    assert health.counts["refused"] == negative
    assert set(health.counts) <= {"refused", "of colour alone"}
