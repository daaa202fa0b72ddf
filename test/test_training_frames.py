"""Frames in memory, their order, and the classes that their labels become."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs PyTorch")
from training_data import SHAPES, Shapes, shapes

from asymformer_ros.datasets import LabelledFrame
from asymformer_ros.datasets.classes import ClassMap, own_classes, read_class_map
from asymformer_ros.errors import ConfigurationError, FrameError
from asymformer_ros.frames.frame import UNLABELLED
from asymformer_ros.models.labels import LabelSet, label_set
from asymformer_ros.models.normalization import PUBLISHED_NORMALIZATION
from asymformer_ros.training.augment import Sample
from asymformer_ros.training.batches import Batch, _batches_ahead
from asymformer_ros.training.frames import BatchSampler, Frames, Mixture, evenly_spaced

OWN = own_classes([SHAPES])
MEGABYTE = 1 << 20


class Counted(Shapes):
    """Counts how often frames are read; the frame `odd` is of another size."""

    def __init__(self, count: int, odd: int = -1) -> None:
        super().__init__(count)
        self.reads, self._odd = 0, odd

    def __getitem__(self, index: int) -> LabelledFrame:
        self.reads += 1
        labelled = super().__getitem__(index)
        if index != self._odd:
            return labelled
        frame = type(labelled.frame)(labelled.frame.rgb[:32].copy(), labelled.frame.depth[:32].copy())
        return LabelledFrame(frame, labelled.labels[:32].copy())


def test_a_frame_is_the_data_sets_in_whole_millimetres() -> None:
    frames = Frames([Shapes(2)], OWN, MEGABYTE)
    for _ in range(2):  # read, then kept
        sample = frames[1]
        for got, expected in zip((sample.rgb, sample.depth, sample.labels), shapes(1), strict=True):
            assert np.array_equal(got, expected)
            assert got.dtype == expected.dtype


def test_a_frame_is_read_once() -> None:
    data = Counted(5)
    frames = Frames([data], OWN, MEGABYTE)
    for _ in range(3):
        for index in range(5):
            frames[index]
    assert data.reads == 6  # the first one twice, to see its size


def test_frames_that_do_not_fit_are_read_each_time() -> None:
    data = Counted(5)
    frames = Frames([data], OWN, 2 * 64 * 96 * 6)
    for _ in range(2):
        for index in range(5):
            assert np.array_equal(frames[index].labels, shapes(index)[2])
    assert data.reads == 1 + 2 + 2 * 3


def test_a_frame_of_another_size_is_read_each_time() -> None:
    frames = Frames([Counted(3, odd=1)], OWN, MEGABYTE)
    assert [frames[index].labels.shape for index in (0, 1, 1, 2)] == [(64, 96), (32, 96), (32, 96), (64, 96)]


def test_several_data_sets_follow_each_other() -> None:
    frames = Frames([Shapes(2), Shapes(3)], OWN, MEGABYTE)
    assert len(frames) == 5
    assert [np.array_equal(frames[i].rgb, shapes(j)[0]) for i, j in enumerate((0, 1, 0, 1, 2))] == [True] * 5


def test_no_frames_are_an_error() -> None:
    with pytest.raises(FrameError, match="no frames in empty"):
        Frames([Shapes(0, "empty")], OWN, MEGABYTE)


@given(count=st.integers(1, 500), limit=st.integers(1, 500))
def test_evenly_spaced_indices_are_even(count: int, limit: int) -> None:
    indices = evenly_spaced(count, limit)
    assert len(indices) == min(count, limit)
    assert len(set(indices)) == len(indices)
    assert 0 <= min(indices) <= max(indices) < count
    gaps = np.diff(indices)
    assert gaps.max(initial=1) - gaps.min(initial=gaps.max(initial=1)) <= 1


def test_all_frames_are_taken_without_a_limit() -> None:
    assert evenly_spaced(4, None) == [0, 1, 2, 3]


def test_an_epoch_has_each_frame_once_and_its_own_order() -> None:
    sampler = BatchSampler(Mixture(12), batch_size=4, epochs=3, seed=1)
    batches = list(sampler.batches(0))
    assert (sampler.steps_per_epoch, sampler.steps, len(batches)) == (3, 9, 9)
    epochs = [[pair for batch in batches[3 * e : 3 * e + 3] for pair in batch] for e in range(3)]
    for number, pairs in enumerate(epochs):
        assert {epoch for epoch, _ in pairs} == {number}
        assert sorted(index for _, index in pairs) == list(range(12))
    assert [i for _, i in epochs[0]] != [i for _, i in epochs[1]]


@pytest.mark.parametrize("step", range(8))
def test_the_order_goes_on_from_any_step(step: int) -> None:
    sampler = BatchSampler(Mixture(9), batch_size=2, epochs=2, seed=5)
    assert list(sampler.batches(step)) == list(sampler.batches(0))[step:]


def test_fewer_frames_than_a_batch_are_a_batch() -> None:
    sampler = BatchSampler(Mixture(3), batch_size=8, epochs=2, seed=0)
    assert [len(batch) for batch in sampler.batches(0)] == [3, 3]


TWO = LabelSet("two", ("furniture", "room"), ((1, 2, 3), (4, 5, 6)))


def classes_file(path: Path, renamed: dict[str, str]) -> Path:
    path.write_text(json.dumps({"label_set": TWO.to_json(), "from": renamed}))
    return path


def test_classes_become_those_of_the_classes_file_and_others_void(tmp_path: Path) -> None:
    source = label_set("nyuv2_40")
    file = classes_file(tmp_path / "classes.json", {"bed": "furniture", "chair": "furniture", "wall": "room"})
    classes = read_class_map(file, [source])
    table = classes.table(source)
    named = {source.names[index]: int(value) for index, value in enumerate(table[:40]) if value != UNLABELLED}
    assert classes.label_set == TWO
    assert named == {"bed": 0, "chair": 0, "wall": 1}
    assert table[255] == UNLABELLED


def test_classes_go_by_name_in_each_data_set() -> None:
    other = LabelSet("turned", SHAPES.names[::-1], SHAPES.colors)
    classes = ClassMap(SHAPES, {name: name for name in SHAPES.names})
    assert classes.table(other)[:3].tolist() == [2, 1, 0]


def test_the_datas_own_classes_stay() -> None:
    assert own_classes([SHAPES, SHAPES]).table(SHAPES)[:4].tolist() == [0, 1, 2, UNLABELLED]


def test_data_sets_with_different_classes_need_a_classes_file() -> None:
    with pytest.raises(ConfigurationError, match="shapes and two: .* classes file"):
        own_classes([SHAPES, TWO])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot read the classes file"),
        ("[]", "is no classes file .* expected {"),
        ('{"from": {}}', "is no classes file .KeyError 'label_set'"),
        (
            json.dumps({"label_set": TWO.to_json(), "from": {"ball": "sofa"}}),
            "maps to sofa, which .* use furniture, room",
        ),
        (
            json.dumps({"label_set": TWO.to_json(), "from": {"cat": "room"}}),
            "lists cat, which the data has not: .* ball",
        ),
    ],
)
def test_a_wrong_classes_file_says_what_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "classes.json").write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        read_class_map(tmp_path / "classes.json", [SHAPES])


def test_a_classes_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the classes file"):
        read_class_map(tmp_path / "none.json", [SHAPES])


def test_frames_of_the_last_set_are_mixed_in_by_their_share_all_before_one_comes_again() -> None:
    mixture = Mixture.of([4, 2, 5], batch_size=4, share=0.5)
    sampler = BatchSampler(mixture, batch_size=4, epochs=5, seed=0)
    assert (sampler.steps_per_epoch, sampler.steps) == (3, 15)
    batches = list(sampler.batches(0))
    mixed = [[index for _, index in batch if index >= 6] for batch in batches]
    assert {len(indices) for indices in mixed} == {2}
    flat = [index for indices in mixed for index in indices]
    for turn in range(6):
        assert set(flat[5 * turn : 5 * turn + 5]) == {6, 7, 8, 9, 10}
    for epoch in range(5):
        own = [index for batch in batches[3 * epoch : 3 * epoch + 3] for _, index in batch if index < 6]
        assert sorted(own) == list(range(6))
    assert list(sampler.batches(7)) == batches[7:]


@pytest.mark.parametrize(("counts", "share"), [([8], 0.5), ([8, 8], 1.0), ([8, 8], -0.1), ([8, 8], 0.99)])
def test_a_share_that_leaves_no_frame_is_refused(counts: list[int], share: float) -> None:
    with pytest.raises(ConfigurationError, match="share of the last of several data sets"):
        Mixture.of(counts, 4, share)


def test_depth_beyond_32_metres_survives_the_way_through_a_batch() -> None:
    depth = np.array([[0, 1, 32768, 65535]], np.uint16).repeat(4, 0)
    batch = Batch.of([Sample(np.zeros((4, 4, 3), np.uint8), depth, np.zeros((4, 4), np.uint8))])
    assert batch.depth.element_size() * batch.depth.shape[-1] == 2  # two bytes a pixel
    normalization = replace(PUBLISHED_NORMALIZATION, depth_mean=0.0, depth_std=1.0)
    metres = batch.inputs(normalization, torch.device("cpu"))[1]
    np.testing.assert_allclose(metres[0, 0, 0].numpy(), [0, 0.001, 32.768, 65.535], rtol=1e-6)


class Room(NamedTuple):
    """What os.statvfs says of shared memory."""

    f_bavail: int
    f_frsize: int = 1


@pytest.mark.parametrize(
    ("free", "ahead", "told"), [(10**9, 4, ""), (24_000_000, 2, "2 batches in adv"), (4096, 0, "this process")]
)
def test_fewer_batches_are_made_in_advance_where_shared_memory_is_small(
    free: int, ahead: int, told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("os.statvfs", lambda path: Room(free))
    assert _batches_ahead((240, 320), 8, 2) == ahead
    assert told in caplog.text
    assert bool(caplog.text) == bool(told)
