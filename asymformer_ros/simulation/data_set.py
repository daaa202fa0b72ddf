"""Rendered frames of many worlds as a data set, rooms for training and rooms for testing apart."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.recording import RawRgbd
from asymformer_ros.simulation.catalog import Catalog
from asymformer_ros.simulation.world import World
from asymformer_ros.system.signals import end_with_parent

TEST_SEEDS = 1_000_000
"""Seeds of rooms from here on are for testing: nothing is trained on them."""


@dataclass(frozen=True)
class RenderPlan:
    """Frames of each split, frames of each room, and the seed of the first room. Raises ConfigurationError."""

    train_frames: int
    test_frames: int
    frames_per_room: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.train_frames, self.test_frames) < 1 or self.frames_per_room < 1:
            raise ConfigurationError("each split and each room needs at least 1 frame")
        if self.seed < 0 or self.seed + self.train_frames / self.frames_per_room > TEST_SEEDS:
            raise ConfigurationError(f"seed {self.seed}: the rooms for training have seeds below {TEST_SEEDS}")

    def frames(self) -> Iterator[tuple[str, str]]:
        """Split and name of each frame."""
        for split, seed, count in self.rooms():
            yield from ((split, _frame_name(seed, number)) for number in range(count))

    def rooms(self) -> Iterator[tuple[str, int, int]]:
        """Split, seed and number of frames of each room."""
        for split, frames, first in (("train", self.train_frames, 0), ("test", self.test_frames, TEST_SEEDS)):
            for start in range(0, frames, self.frames_per_room):
                seed = first + self.seed + start // self.frames_per_room
                yield split, seed, min(self.frames_per_room, frames - start)


@dataclass(frozen=True)
class RenderedFrame:
    """One frame of a data set; pose: (4, 4) camera-to-world."""

    split: str
    name: str
    image: RawRgbd
    pose: NDArray[np.float64]


def render_frames(
    plan: RenderPlan,
    intrinsics: Intrinsics,
    workers: int,
    catalog: Catalog | None = None,
    done: Collection[str] = (),
) -> Iterator[RenderedFrame]:
    """The frames of a plan, in its order, whatever the number of workers, but for the names that are done."""
    context = multiprocessing.get_context("spawn")
    waiting: deque[Future[list[RenderedFrame]]] = deque()
    with ProcessPoolExecutor(workers, context, initializer=_start_worker) as pool:
        for room in plan.rooms():
            if all(_frame_name(room[1], number) in done for number in range(room[2])):
                continue
            waiting.append(pool.submit(_render_room, *room, intrinsics, catalog))
            if len(waiting) > 2 * workers:
                yield from (frame for frame in waiting.popleft().result() if frame.name not in done)
        while waiting:
            yield from (frame for frame in waiting.popleft().result() if frame.name not in done)


def _frame_name(seed: int, number: int) -> str:
    return f"{seed:07d}_{number:02d}"


def _start_worker() -> None:
    cv2.setNumThreads(0)
    parent = multiprocessing.parent_process()
    assert parent is not None
    assert parent.pid is not None
    end_with_parent(parent.pid)  # or else it would wait for work for ever


def _render_room(
    split: str, seed: int, count: int, intrinsics: Intrinsics, catalog: Catalog | None = None
) -> list[RenderedFrame]:
    """Frames of one room, evenly spread over its drive."""
    world = World(seed, catalog)
    poses = [world.drive.pose((number + 0.5) / count * world.drive.seconds) for number in range(count)]
    return [
        RenderedFrame(split, _frame_name(seed, number), world.photograph(pose, intrinsics, number), pose)
        for number, pose in enumerate(poses)
    ]
