"""A simulated indoor world: a furnished room, a robot's drive through it, and the RGB-D camera that it carries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.recording import RawRgbd
from asymformer_ros.simulation.catalog import Catalog
from asymformer_ros.simulation.drive import Drive
from asymformer_ros.simulation.rendering import Rendering, render
from asymformer_ros.simulation.room import furnished_room
from asymformer_ros.simulation.scene import Scene
from asymformer_ros.simulation.sensor import photograph

_DRIVE, _SENSOR = 1, 2  # streams of random numbers beside the room's own


class World:
    """The world of a seed. The same seed (and catalogue of furniture) gives the same world, drive and pictures."""

    def __init__(self, seed: int, catalog: Catalog | None = None) -> None:
        self.seed = seed
        self.site = furnished_room(seed, catalog)
        self.scene = Scene(self.site.parts, self.site.lights)
        self.drive = Drive(self.site, np.random.default_rng((_DRIVE, seed)))

    def view(self, pose: NDArray[np.float64], intrinsics: Intrinsics) -> Rendering:
        """What a perfect camera sees from a (4, 4) camera-to-world pose."""
        return render(self.scene, pose, intrinsics)

    def photograph(self, pose: NDArray[np.float64], intrinsics: Intrinsics, number: int) -> RawRgbd:
        """What the robot's camera gives there, with true labels; `number` seeds the sensor's noise."""
        rng = np.random.default_rng((_SENSOR, self.seed, number))
        return photograph(self.scene, self.view(pose, intrinsics), pose, rng)
