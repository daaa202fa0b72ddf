"""Class scores that go on from one frame of a camera to the next, so that labels do not flicker."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.depth import Depth, depth_metres
from asymformer_ros.frames.resize import resize_nearest

NEW = 0.2
"""Weight of a new frame's scores where the scene is the same: the blend is as calm as a plain mean of 9 frames."""
LONGEST_GAP = 1.0
"""Seconds between two frames after which nothing is carried over."""
SAME_COLOUR = 20.0
"""Grey levels by which the channels of a place may differ that shows the same thing."""
SAME_DEPTH = 0.1
"""Share by which its depth may differ."""

_FLOW_SIZE = (72, 96)  # (height, width) of the images whose movement is looked for: OpenCV's flow crashes on odd ones
_CHANNELS = 64  # of an image that OpenCV takes at once: its limit depends on the version
_ELSEWHERE = 1e4  # colour of what was outside the image


@dataclass(frozen=True)
class _View:
    """One frame at the scores' size: scores (h, w, C), colour (h, w, 3) float32, depth (h, w), grey of _FLOW_SIZE."""

    scores: NDArray[np.float32]
    colour: NDArray[np.float32]
    depth: NDArray[np.float32]
    grey: NDArray[np.uint8]


class TemporalSmoothing:
    """The memory of one camera: blends the class scores of each frame with those of the frames before.

    What was seen before is moved along with the picture (dense inverse search flow, Kroeger et al. 2016), and counts
    where colour and depth say that the place still shows the same; elsewhere, and after a cut, a gap of LONGEST_GAP,
    a jump of time or another model, the new scores stand alone. Used by one thread at a time.
    """

    def __init__(self) -> None:
        self.applied = False
        """Whether the newest frame went through it: not where a backend gives labels and no scores."""
        self._before: _View | None = None
        self._seconds, self._model = math.nan, ""
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._flow.setFinestScale(1)  # twice as fine as the preset: 0.2 ms

    def at(self, seconds: float) -> TemporalSmoothing:
        """Itself, for the frame that was taken at this time of the camera's clock."""
        if not 0 <= seconds - self._seconds <= LONGEST_GAP:
            self.reset()
        self._seconds = seconds
        return self

    def reset(self) -> None:
        """Forget what was seen."""
        self._before = None

    def start(self, model: str) -> None:
        """A frame is to be segmented by the model of this hash."""
        if model != self._model:
            self.reset()
        self._model, self.applied = model, False

    def blend(self, scores: NDArray[np.float32], rgb: NDArray[np.uint8], depth: Depth) -> NDArray[np.float32]:
        """Scores (C, h, w) of the next frame, smoothed, in an array of their own; those of a first frame unchanged.

        rgb (H, W, 3) uint8 and depth (H, W), metres or millimetres as `Depth` says: the frame, of any size.
        """
        self.applied = True
        before, view = self._before, _view(scores, rgb, depth)
        self._before = view
        if before is None or before.scores.shape != view.scores.shape:
            return scores
        places = self._places(before, view)
        moved, new = (each.reshape(-1, len(scores)) for each in (_moved(before.scores, places), view.scores))
        blended: NDArray[np.float32] = cv2.addWeighted(new, NEW, moved, 1 - NEW, 0.0)  # type: ignore[assignment]
        changed = np.flatnonzero(~_same(before, view, places))
        blended[changed] = new[changed]
        self._before = replace(view, scores=blended.reshape(view.scores.shape))
        return cv2.transpose(blended).reshape(scores.shape)  # type: ignore[return-value]

    def _places(self, before: _View, view: _View) -> NDArray[np.float32]:
        """(h, w, 2) x and y in the frame before of what each place of the new one shows."""
        height, width = view.depth.shape
        flow = self._flow.calc(view.grey, before.grey, None)  # type: ignore[call-overload]
        flow = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR)
        flow *= np.array((width / _FLOW_SIZE[1], height / _FLOW_SIZE[0]), np.float32)
        flow[..., 0] += np.arange(width, dtype=np.float32)
        flow[..., 1] += np.arange(height, dtype=np.float32)[:, None]
        return flow  # type: ignore[no-any-return]


def smoothed(
    scores: Iterable[NDArray[np.float32]],
    rgb: NDArray[np.uint8],
    depth: Depth,
    smoothing: Sequence[TemporalSmoothing],
) -> Iterator[NDArray[np.float32]]:
    """Class scores (C, h, w) of each of N images, blended by its stream's smoothing; as they are where there is none.

    rgb (N, H, W, 3) and depth (N, H, W): the images.
    """
    if not smoothing:
        yield from scores
        return
    for one, *seen, stream in zip(scores, rgb, depth, smoothing, strict=True):
        yield stream.blend(one, *seen)


def _view(scores: NDArray[np.float32], rgb: NDArray[np.uint8], depth: Depth) -> _View:
    size = scores.shape[1:]
    small = cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    if size != _FLOW_SIZE:
        grey = cv2.resize(grey, _FLOW_SIZE[::-1], interpolation=cv2.INTER_AREA)
    own = cv2.transpose(scores.reshape(len(scores), -1)).reshape(*size, -1)
    return _View(own, small.astype(np.float32), depth_metres(resize_nearest(depth, size)), grey)  # type: ignore[arg-type, type-var]


def _moved(scores: NDArray[np.float32], places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores (h, w, C) taken at places (h, w, 2) between the pixels."""
    parts = [
        cv2.remap(
            scores[..., start : start + _CHANNELS], places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )  # type: ignore[call-overload]
        for start in range(0, scores.shape[2], _CHANNELS)
    ]
    moved = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)
    return moved.reshape(scores.shape)  # type: ignore[no-any-return]  # OpenCV drops the axis of a single class


def _same(before: _View, view: _View, places: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(h, w) whether each place shows what it showed before; unknown depth does not speak against it."""
    border = (_ELSEWHERE,) * 3
    colour = cv2.remap(
        before.colour, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=border
    )  # type: ignore[call-overload]
    depth = cv2.remap(before.depth, places, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    red, green, blue = cv2.split(cv2.absdiff(colour, view.colour))
    nearer = np.fmin(depth, view.depth)
    same: NDArray[np.bool_] = cv2.max(cv2.max(red, green), blue) < SAME_COLOUR
    return same & ~(np.abs(depth - view.depth) > SAME_DEPTH * nearer)
