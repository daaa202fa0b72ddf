"""The simulated world as frames that never end: one room after the other."""

from __future__ import annotations

from asymformer_ros.frames.intrinsics import Intrinsics
from asymformer_ros.frames.recording import RawRgbd
from asymformer_ros.simulation.world import World

SECONDS_IN_ROOM = 15.0


class LiveWorld:
    """Frames of a robot's drive, `rate` a second, through the rooms of `seed`, seed + 1 and so on, 15 s in each."""

    def __init__(self, intrinsics: Intrinsics, rate: float, seed: int) -> None:
        self.intrinsics = intrinsics
        self._rate, self._seed = rate, seed
        self._world = World(seed)

    def frame(self, index: int) -> RawRgbd:
        """Frame `index`, counted from 0, with true labels."""
        rooms, seconds = divmod(index / self._rate, SECONDS_IN_ROOM)
        if self._world.seed != self._seed + int(rooms):
            self._world = World(self._seed + int(rooms))
        return self._world.photograph(self._world.drive.pose(seconds), self.intrinsics, index)
