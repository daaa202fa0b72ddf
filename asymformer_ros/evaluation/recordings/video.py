"""The overlays of a recording as an mp4 video with a legend: VP9, which browsers and common players show."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from asymformer_ros.evaluation.recordings.results import Line
from asymformer_ros.evaluation.recordings.store import Store, StoreError
from asymformer_ros.frames.overlay import legend_strip
from asymformer_ros.models.labels import LabelSet

VIDEO = "video.mp4"
_RATE = 10.0  # frames a second where stamps do not tell
_RATES = (1.0, 60.0)


def write_video(store: Store, lines: Sequence[Line], classes: LabelSet) -> None:
    """Write it, whole or not at all, where it is not there. lines: the summary's. Raises StoreError."""
    shown = [line for line in lines if "error" not in line]
    if not shown or (store.root / VIDEO).exists():
        return
    with tempfile.TemporaryDirectory(prefix="asymformer_") as folder:
        path = Path(folder) / VIDEO
        _encode(path, store, shown, classes)
        store.write(VIDEO, path.read_bytes())


def _encode(path: Path, store: Store, lines: Sequence[Line], classes: LabelSet) -> None:
    seen = sorted({one["label"] for line in lines for one in line["classes"]})  # type: ignore[attr-defined]
    first = _overlay(store, lines[0])
    height, width = first.shape[:2]
    legend = legend_strip([(classes.names[at], classes.colors[at]) for at in seen], width)
    size = (width // 2 * 2, (height + len(legend)) // 2 * 2)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"vp09"), _rate(lines), size)
    if not video.isOpened():
        raise StoreError("this OpenCV writes no VP9 video: `pip install opencv-python-headless` brings one")
    for line in lines:
        image = _overlay(store, line)
        if image.shape != first.shape:
            image = cv2.resize(image, (width, height))  # type: ignore[assignment]
        whole = np.vstack([image, legend])[: size[1], : size[0]]
        video.write(cv2.cvtColor(whole, cv2.COLOR_RGB2BGR))
    video.release()


def _overlay(store: Store, line: Line) -> NDArray[np.uint8]:
    content = store.read(str(line["overlay"]))
    if content is None:
        raise StoreError(f"'{line['overlay']}' is gone from '{store.place}'")
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[return-value, arg-type]


def _rate(lines: Sequence[Line]) -> float:
    stamps = [int(str(line["stamp"])) for line in lines if "stamp" in line]
    gaps = [after - before for before, after in pairwise(stamps) if after > before]
    return float(np.clip(1e9 / np.median(gaps), *_RATES)) if gaps else _RATE
