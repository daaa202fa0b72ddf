"""A frame as a page shows it: small images, as data that a page can hold."""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.frames.frame import UNLABELLED, RgbdFrame
from asymformer_ros.frames.images import encode_png
from asymformer_ros.frames.panels import depth_panel
from asymformer_ros.frames.resize import resize_nearest

_Labels = NDArray[np.uint8]
_Picture = NDArray[np.uint8]

_WIDTHS = (320, 256, 192, 128, 96)
"""Pixels across, of the images of a page: the largest with which it is not too large."""

_BUDGET = 4_200_000  # bytes of all images of a page; with the plots and the program it stays below 5 MB
_TRIED = 20  # frames, of which the size of all is estimated
_QUALITY = 55  # of WebP
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShownFrame:
    """One frame, already small. labels, truth: (h, w) uint8, 255 where there is none. Others: (h, w, 3) uint8 RGB.

    camera, depth, overlay, truth are None where they are not known; overlay is only used where camera is not there.
    shares: of the labelled frame's pixels, by class. accuracy, mean_iou: 0..1, against truth. note: a line about it.
    """

    name: str
    labels: _Labels
    shares: dict[int, float]
    camera: _Picture | None = None
    depth: _Picture | None = None
    overlay: _Picture | None = None
    truth: _Labels | None = None
    accuracy: float | None = None
    mean_iou: float | None = None
    note: str = ""


def shown(
    name: str,
    labels: _Labels,
    frame: RgbdFrame | None = None,
    truth: _Labels | None = None,
    overlay: _Picture | None = None,
    scores: tuple[float | None, float | None] = (None, None),
) -> ShownFrame:
    """A frame made small. labels, truth: (H, W). scores: pixel accuracy and mean IoU, 0..1."""
    panel = None if frame is None else depth_panel(_small(frame.depth, nearest=True))
    return ShownFrame(
        name=name,
        labels=_small(labels, nearest=True),
        shares=_shares(labels),
        camera=None if frame is None else _small(frame.rgb),
        depth=None if panel is None else panel.image,
        overlay=None if overlay is None or frame is not None else _small(overlay),
        truth=None if truth is None else _small(truth, nearest=True),
        accuracy=scores[0],
        mean_iou=scores[1],
        note="" if panel is None else panel.caption,
    )


def small_frame(frame: RgbdFrame) -> RgbdFrame:
    """What `shown` needs of a frame: many can be kept."""
    return RgbdFrame(_small(frame.rgb), _small(frame.depth, nearest=True))


def packed(frames: Sequence[ShownFrame]) -> list[dict[str, Any]]:
    """JSON-ready, images as data URLs, as large as fits into a page."""
    some = [frames[at] for at in spread(len(frames), _TRIED)]
    for width in _WIDTHS:
        size = sum(_size(_packed(frame, width)) for frame in some) * len(frames)
        if size <= _BUDGET * len(some):
            break
        _log.debug("images %d across are about %d bytes: too many for a page", width, size // len(some))
    return [_packed(frame, width) for frame in frames]


def _size(frame: dict[str, Any]) -> int:
    return sum(len(value) for value in frame.values() if isinstance(value, str))


def _packed(frame: ShownFrame, width: int) -> dict[str, Any]:
    pictures = {"camera": frame.camera, "depth": frame.depth, "overlay": frame.overlay}
    maps = {"labels": frame.labels, "truth": frame.truth}
    return {
        "name": frame.name,
        "note": frame.note,
        "shares": {str(label): round(share, 4) for label, share in frame.shares.items()},
        "accuracy": frame.accuracy,
        "meanIou": frame.mean_iou,
        **{key: _webp(_small(image, width)) for key, image in pictures.items() if image is not None},
        **{key: _png(_small(image, width, nearest=True)) for key, image in maps.items() if image is not None},
    }


def _small(image: NDArray[Any], width: int = _WIDTHS[0], *, nearest: bool = False) -> NDArray[Any]:
    """At most `width` across. Maps of labels and of depth are not mixed."""
    rows, columns = image.shape[:2]
    if columns <= width:
        return image
    size = (max(1, round(rows * width / columns)), width)
    if nearest:
        return resize_nearest(image, size)
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)


def _shares(labels: _Labels) -> dict[int, float]:
    counts = np.bincount(labels.ravel(), minlength=256) / labels.size
    return {int(at): float(counts[at]) for at in np.flatnonzero(counts) if at != UNLABELLED}


def _webp(image: _Picture) -> str:
    data = cv2.imencode(".webp", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])[1]
    return _url("webp", data.tobytes())


def _png(labels: _Labels) -> str:
    return _url("png", encode_png(labels))


def _url(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0..count-1, evenly."""
    if count <= most:
        return list(range(count))
    return sorted({round(at * (count - 1) / max(1, most - 1)) for at in range(most)})


def worst_and_spread(scores: Sequence[float | None], most: int) -> list[int]:
    """At most `most` frames: half of them those of lowest score, the others evenly; evenly where none has a score."""
    known = sorted((score, at) for at, score in enumerate(scores) if score is not None)
    if len(scores) <= most or not known:
        return spread(len(scores), most)
    chosen = {at for _, at in known[: most // 2]}
    rest = [at for at in range(len(scores)) if at not in chosen]
    return sorted(chosen | {rest[at] for at in spread(len(rest), most - len(chosen))})
