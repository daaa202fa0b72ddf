"""The picture that the demo leaves."""

from __future__ import annotations

import numpy as np

from asymformer_ros.frames.panels import Panel, compose, depth_panel


def gray(level: int) -> np.ndarray:
    return np.full((60, 80, 3), level, np.uint8)


def test_four_panels_stand_two_by_two_above_the_legend() -> None:
    panels = [Panel(gray(level), f"number {level}") for level in (50, 100, 150, 200)]
    picture = compose(panels, [("wall", (1, 2, 3)), ("bed", (250, 10, 60))])
    assert picture.shape[1] == 2 * 80 + 4
    levels = [
        int(np.median(half)) for row in np.split(picture[: 2 * 66 + 4], [68]) for half in np.split(row, 2, axis=1)
    ]
    assert levels == [50, 100, 150, 200]
    assert (picture == (1, 2, 3)).all(axis=2).any()
    assert (picture == (250, 10, 60)).all(axis=2).any()


def test_three_panels_stand_in_a_row_and_need_no_legend() -> None:
    picture = compose([Panel(gray(level), "a caption that is longer than its panel") for level in (50, 100, 150)], [])
    assert picture.shape == (66, 3 * 80 + 2 * 4, 3)


def test_a_long_legend_wraps_and_shows_every_color() -> None:
    legend = [(f"class number {number}", (number, 2 * number, 255)) for number in range(40)]
    picture = compose([Panel(gray(9), "camera")], legend)
    assert picture.shape[1] == 80
    for _, color in legend:
        assert (picture == color).all(axis=2).sum() >= 4


def test_depth_is_red_where_near_blue_where_far_and_black_where_unknown() -> None:
    depth = np.linspace(1, 4, 60 * 80, dtype=np.float32).reshape(60, 80)
    depth[10, 10] = np.nan
    panel = depth_panel(depth)
    near, far = panel.image[0, 0].astype(int), panel.image[-1, -1].astype(int)
    assert near[0] > near[2]
    assert far[2] > far[0]
    assert (panel.image[10, 10] == 0).all()
    assert panel.caption == "depth: red 1.0 m, blue 4.0 m, black unknown"
    assert (depth_panel(np.full((6, 8), np.nan, np.float32)).image == 0).all()
