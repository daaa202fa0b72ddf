"""Views of a frame: colour, depth and labels stay together, and what is beside the frame is void."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.frame import UNLABELLED
from asymformer_ros.training.augment import (
    VOID_RGB,
    Sample,
    ViewSize,
    augment,
    view_matrix,
    warp,
)
from asymformer_ros.training.colours import change_colours
from asymformer_ros.training.depth_faults import spoil_depth
from asymformer_ros.training.recipe import FROM_SCRATCH, ROOMS, Colour, DepthFaults, Recipe, RgbBranch, Teacher

SIZE = (64, 96)
WHOLE = ViewSize(SIZE, SIZE)
STILL = Colour(0, 0, 0, 0)
CLEAN = DepthFaults(drop=0, holes=0, noise=0, scale=0)


def spoilt(depth: np.ndarray, faults: DepthFaults, rng: np.random.Generator) -> np.ndarray:
    return spoil_depth(depth, np.full((*depth.shape, 3), 128, np.uint8), faults, rng)


def position_sample(height: int, width: int) -> Sample:
    """A pixel's colour, depth and label say where it is: the column in depth and red, the row in label and green."""
    rows, columns = np.mgrid[:height, :width]
    rgb = np.stack((columns, rows, np.zeros_like(rows)), axis=-1).astype(np.uint8)
    return Sample(rgb, (1000 + 100 * columns).astype(np.uint16), rows.astype(np.uint8))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.integers(40, 200), width=st.integers(40, 200))
def test_colour_depth_and_labels_show_the_same_place(seed: int, height: int, width: int) -> None:
    matrix = view_matrix((height, width), WHOLE, FROM_SCRATCH, np.random.default_rng(seed))
    view = warp(position_sample(height, width), matrix, SIZE)
    inside = view.labels != UNLABELLED
    found = [matrix[0, 0] * np.arange(SIZE[1]) + matrix[0, 2], matrix[1, 1] * np.arange(SIZE[0]) + matrix[1, 2]]
    across, down = ((at > 0.1) & (at < edge - 1.1) for at, edge in zip(found, (width, height), strict=True))
    inner = down[:, None] & across  # outside of it the colour is mixed with the void's
    assert inside[inner].all()
    columns, rows = (view.depth[inner].astype(int) - 1000) / 100, view.labels[inner].astype(int)
    assert np.array_equal(view.depth == 0, ~inside)
    assert np.abs(view.rgb[inner][:, 0] - columns).max(initial=0) <= 1  # colour is between pixels, the others are not
    assert np.abs(view.rgb[inner][:, 1] - rows).max(initial=0) <= 1


def test_a_view_has_the_networks_size_and_types() -> None:
    view = augment(position_sample(120, 160), WHOLE, Recipe(), np.random.default_rng(0)).sample
    assert (view.rgb.shape, view.depth.shape, view.labels.shape) == ((*SIZE, 3), SIZE, SIZE)
    assert (view.rgb.dtype, view.depth.dtype, view.labels.dtype) == (np.uint8, np.uint16, np.uint8)


def test_the_view_of_scale_one_is_the_frame() -> None:
    sample = position_sample(*SIZE)
    recipe = replace(FROM_SCRATCH, scales=(1, 1), flip=0)
    view = warp(sample, view_matrix(SIZE, WHOLE, recipe, np.random.default_rng(0)), SIZE)
    for got, expected in ((view.rgb, sample.rgb), (view.depth, sample.depth), (view.labels, sample.labels)):
        assert np.array_equal(got, expected)


def test_a_flip_is_a_mirror() -> None:
    sample = position_sample(*SIZE)
    recipe = replace(FROM_SCRATCH, scales=(1, 1), flip=1)
    view = warp(sample, view_matrix(SIZE, WHOLE, recipe, np.random.default_rng(0)), SIZE)
    assert np.array_equal(view.depth, sample.depth[:, ::-1])
    assert np.array_equal(view.rgb, sample.rgb[:, ::-1])


def test_a_frame_that_is_smaller_than_the_view_is_whole_in_it_with_void_around() -> None:
    sample = Sample(
        np.full((60, 80, 3), 200, np.uint8), np.full((60, 80), 900, np.uint16), np.full((60, 80), 7, np.uint8)
    )
    recipe = replace(FROM_SCRATCH, scales=(0.5, 0.5))
    view = warp(sample, view_matrix((60, 80), WHOLE, recipe, np.random.default_rng(3)), SIZE)
    outside = view.labels == UNLABELLED
    assert outside.sum() == pytest.approx(0.75 * outside.size, rel=0.05)
    assert not view.depth[outside].any()
    assert (view.rgb[0, 0] == VOID_RGB).all() or (view.rgb[-1, -1] == VOID_RGB).all()


@pytest.mark.parametrize("scale", [0.75, 1.5])
def test_a_change_of_scale_keeps_metres(scale: float) -> None:
    sample = Sample(np.zeros((60, 80, 3), np.uint8), np.full((60, 80), 1234, np.uint16), np.zeros((60, 80), np.uint8))
    recipe = replace(FROM_SCRATCH, scales=(scale, scale))
    view = warp(sample, view_matrix((60, 80), WHOLE, recipe, np.random.default_rng(1)), SIZE)
    assert set(np.unique(view.depth)) <= {0, 1234}


def test_chance_alone_decides_so_that_the_same_seed_gives_the_same_view() -> None:
    one, same, other = (
        augment(position_sample(100, 150), WHOLE, FROM_SCRATCH, np.random.default_rng((7, 0, index))).sample
        for index in (1, 1, 2)
    )
    assert np.array_equal(one.rgb, same.rgb)
    assert np.array_equal(one.depth, same.depth)
    assert not np.array_equal(one.rgb, other.rgb)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_turned_and_squeezed_view_shows_the_same_place_too(seed: int) -> None:
    recipe = replace(FROM_SCRATCH, aspect=0.2, turn=10.0)
    matrix = view_matrix((120, 160), ViewSize(SIZE, (80, 100)), recipe, np.random.default_rng(seed))
    view = warp(position_sample(120, 160), matrix, SIZE)
    rows, columns = np.nonzero(view.labels != UNLABELLED)
    x, y = matrix @ np.stack((columns, rows, np.ones_like(rows)))
    assert np.abs(view.labels[rows, columns] - y).max(initial=0) <= 0.6
    assert np.abs((view.depth[rows, columns].astype(int) - 1000) / 100 - x).max(initial=0) <= 0.6


def test_a_view_smaller_than_the_frame_at_scale_one_shows_a_part_of_it() -> None:
    recipe = replace(FROM_SCRATCH, scales=(1, 1), flip=0)
    view = warp(
        position_sample(*SIZE), view_matrix(SIZE, ViewSize((32, 64), SIZE), recipe, np.random.default_rng(0)), (32, 64)
    )
    assert (view.labels != UNLABELLED).all()
    assert np.ptp(view.labels.astype(int)) == 31


def test_the_border_is_cut_off_in_most_views() -> None:
    sample = position_sample(*SIZE)
    recipe = replace(FROM_SCRATCH, scales=(1, 1), flip=0, border=8, colour=STILL, depth=CLEAN)
    tops = [augment(sample, WHOLE, recipe, np.random.default_rng(seed)).sample.labels.min() for seed in range(40)]
    assert set(tops) == {0, 8}
    assert 5 <= tops.count(0) <= 16


def test_each_fault_of_a_camera_changes_the_image() -> None:
    image = np.random.default_rng(0).integers(60, 200, (32, 32, 3), np.uint8)
    for fault in ("gamma", "tint", "blur", "noise", "jpeg"):
        colour = replace(STILL, **{fault: 1.0})
        changed = change_colours(image, colour, np.random.default_rng(1))
        assert changed.shape == image.shape
        assert np.abs(changed.astype(int) - image).mean() > 1, fault


def test_colours_change_within_the_recipe() -> None:
    grey = np.full((8, 8, 3), 100, np.uint8)
    values = [change_colours(grey, Colour(0.2, 0, 0, 0), np.random.default_rng(seed)).mean() for seed in range(50)]
    assert 79 <= min(values) < 90
    assert 110 < max(values) <= 121


def test_colours_stay_where_nothing_may_change() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert (
        np.abs(change_colours(image, STILL, np.random.default_rng(0)).astype(int) - image).max() <= 6
    )  # HSV of 8 bits


def test_clean_depth_stays_as_it_is() -> None:
    depth = position_sample(*SIZE).depth
    assert np.array_equal(spoilt(depth, CLEAN, np.random.default_rng(0)), depth)


def test_unknown_depth_stays_unknown_and_dropped_depth_is_unknown() -> None:
    depth = position_sample(*SIZE).depth
    depth[10:20] = 0
    assert not spoilt(depth, DepthFaults(drop=0, holes=1, noise=1), np.random.default_rng(0))[10:20].any()
    assert not spoilt(depth, DepthFaults(drop=1), np.random.default_rng(0)).any()


def test_holes_cover_no_more_than_the_recipe_says() -> None:
    depth = np.full((96, 128), 2000, np.uint16)
    faults = replace(CLEAN, holes=1, max_hole_share=0.4)
    shares = [(spoilt(depth, faults, np.random.default_rng(seed)) == 0).mean() for seed in range(40)]
    assert max(shares) < 0.45
    assert min(shares) < 0.1 < np.mean(shares)


def test_noise_and_steps_grow_with_distance() -> None:
    faults = replace(CLEAN, noise=1)
    spread = []
    for metres in (1, 4):
        depth = np.full((64, 64), metres * 1000, np.uint16)
        spread.append(np.mean([spoilt(depth, faults, np.random.default_rng(s)).std() for s in range(20)]))
    assert spread[0] > 1
    assert spread[1] > 3 * spread[0]


def test_dither_makes_one_slope_of_steps_and_leaves_edges() -> None:
    slope = np.linspace(1500, 2500, 96, dtype=np.float32)
    stepped = (np.rint(slope / 39) * 39).astype(np.uint16)[None].repeat(64, 0)
    stepped[:, 48:] += 1000
    smooth = spoilt(stepped, replace(CLEAN, dither=1), np.random.default_rng(0)).astype(float)
    true = slope + 1000 * (np.arange(96) >= 48)
    inner = np.s_[4:-4, 4:-4]
    assert np.abs(smooth - true)[inner].mean() < 0.8 * np.abs(stepped - true)[inner].mean()
    assert np.abs(smooth - true)[inner].max() < 60


def test_a_structured_light_camera_sees_nothing_beside_a_near_edge() -> None:
    depth = np.full(SIZE, 3000, np.uint16)
    depth[16:48, 32:64] = 1000
    faults = replace(CLEAN, sensor_holes=1)
    shares = [(spoilt(depth, faults, np.random.default_rng(seed)) == 0) for seed in range(60)]
    assert 0.01 < np.mean(shares) < 0.5
    beside = np.mean([holes[16:48, 24:32].mean() + holes[16:48, 64:72].mean() for holes in shares])
    assert beside > 2 * np.mean([holes[2:10, 24:72].mean() for holes in shares])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_recipe_for_rooms_makes_views_of_any_frame(seed: int) -> None:
    view = augment(position_sample(120, 160), ViewSize((64, 96), (96, 128)), ROOMS, np.random.default_rng(seed)).sample
    assert (view.rgb.shape, view.depth.dtype, view.labels.dtype) == ((64, 96, 3), np.uint16, np.uint8)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_teacher_sees_the_camera_s_image_beside_what_is_learnt_from(seed: int) -> None:
    recipe = replace(ROOMS, scales=(1, 1), turn=0, aspect=0, border=0, teacher=Teacher(1.0, 1.0, 16))
    frame = position_sample(120, 160)
    view = augment(frame, ViewSize((64, 96), (120, 160)), recipe, np.random.default_rng(seed))
    assert view.taught is not None
    down, right = view.shift
    assert max(abs(down), abs(right)) <= 16
    assert down % 4 == right % 4 == 0
    here = np.s_[max(0, -down) : 64 - max(0, down), max(0, -right) : 96 - max(0, right)]
    there = np.s_[max(0, down) : 64 + min(0, down), max(0, right) : 96 + min(0, right)]
    assert np.array_equal(view.sample.labels[here], view.taught.labels[there])
    columns, inside = view.taught.rgb[..., 0].astype(int), view.taught.labels != UNLABELLED
    steps = np.abs(np.diff(columns, axis=1))[inside[:, 1:]]
    assert set(steps) == {1}, "the teacher's colours are the camera's"
    assert (view.taught.depth[inside] > 0).all(), "it sees no holes"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Recipe(epochs=0), "epochs must be above 0, got 0"),
        (lambda: Recipe(learning_rate=-1e-3), "learning_rate must be above 0"),
        (lambda: Recipe(scales=(2.0, 0.5)), "scales are a least and a greatest value"),
        (lambda: Recipe(clip_norm=0.0), "clip_norm must be above 0, or None"),
        (lambda: DepthFaults(drop=1.5), "drop, holes"),
        (lambda: DepthFaults(scale=1.0), "scale is 0..1"),
        (lambda: Colour(hue=0.6), "hue is 0..0.5"),
        (lambda: Colour(jpeg=2.0), "jpeg are 0..1"),
        (lambda: Recipe(hold=2.0), "hold is 0..1"),
        (lambda: Recipe(crop=(250, 320)), "crop must be multiples of 32, got 250x320"),
        (lambda: RgbBranch(frozen_stages=5), "frozen_stages is 0..4"),
        (lambda: RgbBranch(drop_path=1.0), "drop_path is 0..1"),
        (lambda: Recipe(weight_decay=-1.0), "not below 0"),
        (lambda: Teacher(temperature=0.0), "temperature above 0"),
        (lambda: Teacher(shift=3), "multiple of 4"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(make: object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()  # type: ignore[operator]
