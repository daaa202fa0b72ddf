"""A robot's way through a room: where its camera is, and what it looks at, at any time."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.simulation.site import Site

_CELL = 0.1  # metres, of the map of free floor
_MARGIN = 0.3  # metres between the robot's middle and furniture
_SPEED = 0.5  # metres a second
_TURNING = 1.0  # radians a second
_STOPS = 8


class Drive:
    """An endless drive, there and back, between places with a free way, looking at one thing after the other."""

    def __init__(self, site: Site, rng: np.random.Generator) -> None:
        self._height = float(rng.uniform(0.7, 1.5))
        stops = _stops(site, rng)
        stops = stops + stops[-2:0:-1] if len(stops) > 1 else stops
        aims = [_aim(site, rng, stop, self._height) for stop in stops]
        self._stops, self._aims = np.array([*stops, stops[0]]), _unwrapped([*aims, aims[0]])
        self._times = np.cumsum([0.0, *(self._duration(number) for number in range(len(stops)))])

    def _duration(self, leg: int) -> float:
        way = np.linalg.norm(self._stops[leg + 1] - self._stops[leg])
        turn = np.abs(self._aims[leg + 1] - self._aims[leg]).max()
        return max(0.5, float(way) / _SPEED, float(turn) / _TURNING)

    @property
    def seconds(self) -> float:
        """Duration of one round."""
        return float(self._times[-1])

    def pose(self, seconds: float) -> NDArray[np.float64]:
        """(4, 4) camera-to-world of the optical frame at this time."""
        at = seconds % self.seconds
        leg = int(np.clip(np.searchsorted(self._times, at, side="right") - 1, 0, len(self._times) - 2))
        share = (at - self._times[leg]) / (self._times[leg + 1] - self._times[leg])
        smooth = share * share * (3 - 2 * share)
        x, y = self._stops[leg] * (1 - smooth) + self._stops[leg + 1] * smooth
        yaw, pitch = self._aims[leg] * (1 - smooth) + self._aims[leg + 1] * smooth
        shake = 0.01 * math.sin(9.0 * seconds)
        return camera_pose((x, y, self._height + 0.5 * shake), yaw, pitch + shake)


def camera_pose(position: tuple[float, float, float], yaw: float, pitch: float) -> NDArray[np.float64]:
    """(4, 4) camera-to-world of an upright camera; yaw from x to y, pitch upwards, radians."""
    forward = np.array([math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), math.sin(pitch)])
    right = np.array([math.sin(yaw), -math.cos(yaw), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = position
    return pose


def _stops(site: Site, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Places of free floor, each reached from the one before on a straight way over free floor."""
    free = site.plan.free_grid(_CELL, _MARGIN)
    _, areas, sizes, _ = cv2.connectedComponentsWithStats(free.astype(np.uint8), connectivity=4)
    if len(sizes) < 2:  # no room for a robot: the camera hangs in the middle
        return [(site.plan.width / 2, site.plan.depth / 2)]
    largest = areas == 1 + int(np.argmax(sizes[1:, cv2.CC_STAT_AREA]))
    cells = np.argwhere(largest)
    stops = [_middle(cells[rng.integers(len(cells))])]
    for _ in range(40 * _STOPS):
        candidate = _middle(cells[rng.integers(len(cells))])
        if math.dist(candidate, stops[-1]) > 0.5 and _way_is_free(largest, stops[-1], candidate):
            stops.append(candidate)
        if len(stops) == _STOPS:
            break
    return stops


def _middle(cell: NDArray[np.intp]) -> tuple[float, float]:
    return (cell[1] + 0.5) * _CELL, (cell[0] + 0.5) * _CELL


def _way_is_free(free: NDArray[np.bool_], start: tuple[float, float], end: tuple[float, float]) -> bool:
    points = np.linspace(start, end, 2 + int(math.dist(start, end) / (_CELL / 2)))
    columns, rows = (points / _CELL).astype(int).T
    return bool(free[rows, columns].all())


def _aim(site: Site, rng: np.random.Generator, stop: tuple[float, float], height: float) -> tuple[float, float]:
    """Yaw and pitch towards something worth a look that is not too close, else anywhere."""
    far = [sight for sight in site.sights if math.dist(sight[:2], stop) > 1.4]
    if not far:
        return float(rng.uniform(-math.pi, math.pi)), float(rng.uniform(-0.4, 0.0))
    x, y, z = far[rng.integers(len(far))]
    yaw, level = math.atan2(y - stop[1], x - stop[0]), math.dist((x, y), stop)
    pitch = math.atan2(min(z, 0.8) - height, level) + rng.normal(0.05, 0.1)
    return yaw + float(rng.normal(0, 0.15)), float(np.clip(pitch, -0.5, 0.25))


def _unwrapped(aims: list[tuple[float, float]]) -> NDArray[np.float64]:
    """Yaws without jumps, so that the camera turns the short way; the last is made to equal the first again."""
    angles = np.array(aims)
    angles[:, 0] = np.unwrap(angles[:, 0])
    return angles
