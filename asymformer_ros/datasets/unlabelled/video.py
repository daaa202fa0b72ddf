"""A colour video with its depth: a video of 16 bit, such as FFV1, or a folder of PNG images, one for each frame."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.datasets.unlabelled.images import images
from asymformer_ros.datasets.unlabelled.source import Broken, Item, SourceSpec, fingerprint, selected
from asymformer_ros.datasets.unlabelled.urls import any_path, local_copy
from asymformer_ros.errors import FrameError
from asymformer_ros.frames.depth import depth_in_metres
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.images import read_depth

VIDEOS = (".mp4", ".mkv", ".avi", ".mov", ".webm")


class VideoSource:
    """The frames of a video, by their number. All of it is one chunk: frames are decoded one behind the other."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        self._video = local_copy(any_path(spec.path))
        count = int(_opened(self._video).get(cv2.CAP_PROP_FRAME_COUNT))
        self._chosen = selected(spec, count)
        self.chunks = [(self._chosen.start, self._chosen.stop)]
        self.about = -(-len(self._chosen) // spec.every)
        self.facts = {"kind": "video", "frames": count}
        is_video = Path(spec.depth).suffix.lower() in VIDEOS
        self._depth_video = local_copy(any_path(spec.depth)) if is_video else None
        self._depths = [] if is_video else images(spec.depth, (".png",))
        self.fingerprint = fingerprint([self._video, *([self._depth_video] if self._depth_video else self._depths)])

    def items(self, chunk: tuple[int, int]) -> Iterator[Item | Broken]:
        """See Source."""
        colours = _opened(self._video)
        depths = _opened(self._depth_video, of_depth=True) if self._depth_video else None
        for number in range(chunk[1]):
            is_wanted = number >= chunk[0] and (number - chunk[0]) % self._spec.every == 0
            name, is_there = f"{number:06d}", colours.grab()
            has_depth = depths.grab() if depths else number < len(self._depths)
            if not is_there or not has_depth:
                missing = "depth" if is_there else "colour"
                yield Broken(name, f"the {missing} has no frame {number}, or one that cannot be decoded: it ends there")
                return
            if is_wanted:
                depth: Any = depths.retrieve()[1] if depths else self._depths[number]
                yield Item(
                    name, partial(_frame, np.asarray(colours.retrieve()[1], np.uint8), depth), {"number": number}
                )


def _frame(bgr: NDArray[np.uint8], depth: NDArray[Any] | Path) -> RgbdFrame:
    stored = read_depth(depth) if isinstance(depth, Path) else depth.reshape(depth.shape[:2])
    return RgbdFrame(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), depth_in_metres(stored))  # type: ignore[arg-type]


def _opened(path: Path, *, of_depth: bool = False) -> cv2.VideoCapture:
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not video.isOpened():
        raise FrameError(f"'{path}' is no video that can be read")
    if of_depth:
        video.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        first = video.read()[1]
        if first is None or first.dtype != np.uint16:
            raise FrameError(f"'{path}' is no video of 16 bit, grey: depth is millimetres, as FFV1 holds them")
        video.release()
        video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        video.set(cv2.CAP_PROP_CONVERT_RGB, 0)
    return video
