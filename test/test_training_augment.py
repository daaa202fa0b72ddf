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
    augment,
    change_colours,
    spoil_depth,
    view_matrix,
    warp,
)
from asymformer_ros.training.recipe import FROM_SCRATCH, Colour, DepthFaults, Recipe

SIZE = (64, 96)
STILL = Colour(0, 0, 0, 0)
CLEAN = DepthFaults(drop=0, holes=0, noise=0, scale=0)


def position_sample(height: int, width: int) -> Sample:
    """A pixel's colour, depth and label say where it is: the column in depth and red, the row in label and green."""
    rows, columns = np.mgrid[:height, :width]
    rgb = np.stack((columns, rows, np.zeros_like(rows)), axis=-1).astype(np.uint8)
    return Sample(rgb, (1000 + 100 * columns).astype(np.uint16), rows.astype(np.uint8))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.integers(40, 200), width=st.integers(40, 200))
def test_colour_depth_and_labels_show_the_same_place(seed: int, height: int, width: int) -> None:
    matrix = view_matrix((height, width), SIZE, FROM_SCRATCH, np.random.default_rng(seed))
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
    view = augment(position_sample(120, 160), SIZE, Recipe(), np.random.default_rng(0))
    assert (view.rgb.shape, view.depth.shape, view.labels.shape) == ((*SIZE, 3), SIZE, SIZE)
    assert (view.rgb.dtype, view.depth.dtype, view.labels.dtype) == (np.uint8, np.uint16, np.uint8)


def test_the_view_of_scale_one_is_the_frame() -> None:
    sample = position_sample(*SIZE)
    recipe = replace(FROM_SCRATCH, scales=(1, 1), flip=0)
    view = warp(sample, view_matrix(SIZE, SIZE, recipe, np.random.default_rng(0)), SIZE)
    for got, expected in ((view.rgb, sample.rgb), (view.depth, sample.depth), (view.labels, sample.labels)):
        assert np.array_equal(got, expected)


def test_a_flip_is_a_mirror() -> None:
    sample = position_sample(*SIZE)
    recipe = replace(FROM_SCRATCH, scales=(1, 1), flip=1)
    view = warp(sample, view_matrix(SIZE, SIZE, recipe, np.random.default_rng(0)), SIZE)
    assert np.array_equal(view.depth, sample.depth[:, ::-1])
    assert np.array_equal(view.rgb, sample.rgb[:, ::-1])


def test_a_frame_that_is_smaller_than_the_view_is_whole_in_it_with_void_around() -> None:
    sample = Sample(
        np.full((60, 80, 3), 200, np.uint8), np.full((60, 80), 900, np.uint16), np.full((60, 80), 7, np.uint8)
    )
    recipe = replace(FROM_SCRATCH, scales=(0.5, 0.5))
    view = warp(sample, view_matrix((60, 80), SIZE, recipe, np.random.default_rng(3)), SIZE)
    outside = view.labels == UNLABELLED
    assert outside.sum() == pytest.approx(0.75 * outside.size, rel=0.05)
    assert not view.depth[outside].any()
    assert (view.rgb[0, 0] == VOID_RGB).all() or (view.rgb[-1, -1] == VOID_RGB).all()


@pytest.mark.parametrize("scale", [0.75, 1.5])
def test_a_change_of_scale_keeps_metres(scale: float) -> None:
    sample = Sample(np.zeros((60, 80, 3), np.uint8), np.full((60, 80), 1234, np.uint16), np.zeros((60, 80), np.uint8))
    recipe = replace(FROM_SCRATCH, scales=(scale, scale))
    view = warp(sample, view_matrix((60, 80), SIZE, recipe, np.random.default_rng(1)), SIZE)
    assert set(np.unique(view.depth)) <= {0, 1234}


def test_chance_alone_decides_so_that_the_same_seed_gives_the_same_view() -> None:
    one, same, other = (
        augment(position_sample(100, 150), SIZE, FROM_SCRATCH, np.random.default_rng((7, 0, index)))
        for index in (1, 1, 2)
    )
    assert np.array_equal(one.rgb, same.rgb)
    assert np.array_equal(one.depth, same.depth)
    assert not np.array_equal(one.rgb, other.rgb)


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
    assert np.array_equal(spoil_depth(depth, CLEAN, np.random.default_rng(0)), depth)


def test_unknown_depth_stays_unknown_and_dropped_depth_is_unknown() -> None:
    depth = position_sample(*SIZE).depth
    depth[10:20] = 0
    spoilt = spoil_depth(depth, DepthFaults(drop=0, holes=1, noise=1), np.random.default_rng(0))
    assert not spoilt[10:20].any()
    assert not spoil_depth(depth, DepthFaults(drop=1), np.random.default_rng(0)).any()


def test_holes_cover_no_more_than_the_recipe_says() -> None:
    depth = np.full((96, 128), 2000, np.uint16)
    faults = replace(CLEAN, holes=1, max_hole_share=0.4)
    shares = [(spoil_depth(depth, faults, np.random.default_rng(seed)) == 0).mean() for seed in range(40)]
    assert max(shares) < 0.45
    assert min(shares) < 0.1 < np.mean(shares)


def test_noise_and_steps_grow_with_distance() -> None:
    faults = replace(CLEAN, noise=1)
    spread = []
    for metres in (1, 4):
        depth = np.full((64, 64), metres * 1000, np.uint16)
        spread.append(np.mean([spoil_depth(depth, faults, np.random.default_rng(s)).std() for s in range(20)]))
    assert spread[0] > 1
    assert spread[1] > 3 * spread[0]


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
        (lambda: Recipe(weight_decay=-1.0), "not below 0"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(make: object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()  # type: ignore[operator]
