"""Smoothing over time: still scenes come to rest, whatever changes is seen at once, and no camera knows of another."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from conftest import not_ours
from numpy.typing import NDArray

from asymformer_ros.evaluation.confusion import ConfusionMatrix
from asymformer_ros.frames.depth import metres_from_millimetres
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.recording import RgbdRecording
from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.inference.selection import open_backend
from asymformer_ros.inference.smoothing import LONGEST_GAP, NEW, TemporalSmoothing

Frame = tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float32]]
GRID, CLASSES = (36, 48), 5


def picture(seed: int) -> NDArray[np.uint8]:
    """(4h, 4w, 3): blobs of a few cells, as things are."""
    cells = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return cells.repeat(16, axis=0).repeat(16, axis=1)


def frame_of(seed: int, view: NDArray[np.uint8], metres: float = 2.0) -> Frame:
    """Scores of an undecided network, on a picture whose depth is everywhere the same."""
    scores = np.random.default_rng(seed).normal(0, 1, (CLASSES, *GRID)).astype(np.float32)
    return scores, view, np.full(view.shape[:2], metres, np.float32)


def changes(scores: list[NDArray[np.float32]]) -> float:
    """Share of the places whose best class is another one in the next frame."""
    best = [one.argmax(axis=0) for one in scores]
    return float(np.mean([(before != after).mean() for before, after in pairwise(best)]))


def test_a_still_scene_comes_to_rest() -> None:
    frames = [frame_of(seed, picture(0)) for seed in range(40)]
    smoothing = TemporalSmoothing()
    answers = [smoothing.blend(*frame) for frame in frames]
    assert changes(answers[10:]) < 0.5 * changes([scores for scores, *_ in frames[10:]])
    weights = NEW * (1 - NEW) ** np.arange(39, -1, -1)  # of a plain exponential mean
    weights[0] /= NEW
    expected = np.tensordot(weights, [scores for scores, *_ in frames], axes=1)
    np.testing.assert_allclose(answers[-1], expected, atol=1e-5)


def test_a_frame_s_own_arrays_are_left_alone() -> None:
    smoothing, frames = TemporalSmoothing(), [frame_of(seed, picture(0)) for seed in range(3)]
    kept = [[array.copy() for array in frame] for frame in frames]
    for frame in frames:
        smoothing.blend(*frame)
    for frame, copies in zip(frames, kept, strict=True):
        for array, copy in zip(frame, copies, strict=True):
            np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(
    ("second", "meanwhile"),
    [
        (frame_of(2, 192 + picture(3) // 4), lambda _: None),  # a cut
        (frame_of(2, picture(0) // 2, metres=1.7), lambda _: None),  # something as white as the wall has come before it
        (frame_of(2, picture(0) // 2), lambda smoothing: smoothing.at(10.0 + 1.01 * LONGEST_GAP)),
        (frame_of(2, picture(0) // 2), lambda smoothing: smoothing.at(9.99)),  # time has jumped back
        (frame_of(2, picture(0) // 2), lambda smoothing: smoothing.start("other")),
        (frame_of(2, picture(0) // 2), lambda smoothing: smoothing.reset()),
        (
            (np.ones((3, 20, 28), np.float32), *frame_of(2, picture(0) // 2)[1:]),
            lambda _: None,
        ),  # a network of another size
    ],
    ids=["cut", "nearer", "gap", "back in time", "other model", "reset", "other size"],
)
def test_what_is_new_is_seen_at_once(second: Frame, meanwhile: Callable[[TemporalSmoothing], object]) -> None:
    smoothing = TemporalSmoothing().at(10.0)
    smoothing.start("model")
    first = frame_of(1, picture(0) // 2)
    np.testing.assert_array_equal(smoothing.blend(*first), first[0])
    meanwhile(smoothing)
    np.testing.assert_array_equal(smoothing.blend(*second), second[0])


@pytest.mark.parametrize("metres", [2.05, np.nan])
def test_noise_and_holes_of_depth_are_no_change(metres: float) -> None:
    smoothing, first, second = TemporalSmoothing(), frame_of(1, picture(0)), frame_of(2, picture(0), metres)
    smoothing.at(10.0).blend(*first)
    expected = NEW * second[0] + (1 - NEW) * first[0]
    np.testing.assert_allclose(smoothing.at(10.0 + LONGEST_GAP).blend(*second), expected, atol=1e-6)


def test_what_was_seen_moves_with_the_picture() -> None:
    """The camera turns by 3 cells: scores that turn with it stay what they are, but for the part that has come in."""
    wide = (
        np.random.default_rng(0).normal(0, 1, (CLASSES, 9, 15)).astype(np.float32).repeat(4, axis=1).repeat(4, axis=2)
    )
    view = picture(3).repeat(2, axis=1)[:, : 4 * 60]
    smoothing = TemporalSmoothing()
    for start in (0, 3, 6):
        scores = np.ascontiguousarray(wide[:, :, start : start + 48])
        rgb = np.ascontiguousarray(view[:, 4 * start : 4 * start + 192])
        answer = smoothing.blend(scores, rgb, np.full(rgb.shape[:2], 2.0, np.float32))
    agree = (answer.argmax(axis=0) == scores.argmax(axis=0)).mean()
    still = NEW * scores + (1 - NEW) * np.roll(scores, 3, axis=2)  # without any movement
    assert agree > 0.95 > (still.argmax(axis=0) == scores.argmax(axis=0)).mean()


def test_each_camera_has_a_memory_of_its_own() -> None:
    streams = [[frame_of(10 * camera + number, picture(camera)) for number in range(4)] for camera in range(2)]
    alone = []
    for frames in streams:
        smoothing = TemporalSmoothing()
        alone.append([smoothing.blend(*frame) for frame in frames])
    both = [TemporalSmoothing(), TemporalSmoothing()]
    for number, pair in enumerate(zip(*streams, strict=True)):
        for camera, frame in enumerate(pair):
            np.testing.assert_array_equal(both[camera].blend(*frame), alone[camera][number])


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (16, 40), (120, 160)])
@pytest.mark.parametrize("classes", [1, 2, 256])
def test_scores_of_any_size_and_number_of_classes(size: tuple[int, int], classes: int) -> None:
    smoothing, view = TemporalSmoothing(), picture(0)
    depth = np.full(view.shape[:2], 2.0, np.float32)
    for value in (0.0, 1.0):
        answer = smoothing.blend(np.full((classes, *size), value, np.float32), view, depth)
    np.testing.assert_allclose(answer, np.full((classes, *size), NEW), atol=1e-6)


def still(count: int) -> list[RgbdFrame]:
    """Frames of a still camera with a noisy sensor."""
    rng = np.random.default_rng(0)
    view = picture(5).repeat(2, axis=0).repeat(2, axis=1)
    depth = np.full(view.shape[:2], 2.0, np.float32)
    return [
        RgbdFrame(np.clip(view + rng.normal(0, 6, view.shape), 0, 255).astype(np.uint8), depth) for _ in range(count)
    ]


@pytest.mark.parametrize("library", ["torch", "onnxruntime"])
def test_a_backend_smooths_where_it_is_asked_to_and_only_there(library: str) -> None:
    pytest.importorskip(library)
    frames, smoothing = still(6), TemporalSmoothing()
    with Segmenter(open_backend(library, "demo", "cpu")) as segmenter:
        plain = [segmenter.segment(frame, with_confidence=True) for frame in frames]
        smooth = [segmenter.segment(frame, with_confidence=True, smoothing=smoothing) for frame in frames]
        again = segmenter.segment(frames[-1], with_confidence=True)
        pair = segmenter.segment_all(frames[:2], smoothing=[TemporalSmoothing(), TemporalSmoothing()])
    assert smoothing.applied
    np.testing.assert_array_equal(smooth[0].labels, plain[0].labels)
    np.testing.assert_array_equal(again.labels, plain[-1].labels)
    np.testing.assert_array_equal(again.confidence, plain[-1].confidence)  # type: ignore[arg-type]
    for one, alone in zip(pair, plain, strict=False):
        np.testing.assert_array_equal(one.labels, alone.labels)
    restless, calm = ([answer.labels for answer in answers[2:]] for answers in (plain, smooth))
    assert sum((a != b).sum() for a, b in pairwise(calm)) < sum((a != b).sum() for a, b in pairwise(restless))
    assert (smooth[-1].confidence != plain[-1].confidence).any()  # type: ignore[union-attr]


def test_a_real_kitchen_flickers_in_at_most_4_percent_of_its_pixels() -> None:
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")
    recording, smoothing = RgbdRecording(not_ours("kitchen_sequence")), TemporalSmoothing()
    with Segmenter(open_backend("onnxruntime", "rooms", "cpu")) as segmenter:
        labels = [segmenter.segment(recording[index], smoothing=smoothing).labels for index in range(45)]
    assert np.mean([(before != after).mean() for before, after in pairwise(labels)]) <= 0.04


def test_it_costs_no_truth_where_the_camera_moves() -> None:
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")
    pytest.importorskip("embreex", reason="needs Embree: pip install trimesh embreex (x86_64)")
    from asymformer_ros.simulation.world import World

    world, camera = World(2_000_003), Intrinsics.typical(192, 144)
    plain, smooth, smoothing = ConfusionMatrix(40), ConfusionMatrix(40), TemporalSmoothing()
    with Segmenter(open_backend("onnxruntime", "rooms", "cpu")) as segmenter:
        for number in range(16):
            image = world.photograph(world.drive.pose(3 + number / 10), camera, number)
            frame = RgbdFrame(image.rgb, metres_from_millimetres(image.depth))
            assert image.labels is not None
            plain.add(image.labels, segmenter.segment(frame).labels)
            smooth.add(image.labels, segmenter.segment(frame, smoothing=smoothing).labels)
    assert smooth.scores().pixel_accuracy >= plain.scores().pixel_accuracy - 0.003
