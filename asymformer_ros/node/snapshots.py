"""A frame with all that was made of it, as a folder of files."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import monotonic

from asymformer_ros.errors import AsymformerError, FrameError
from asymformer_ros.frames.depth import depth_millimetres
from asymformer_ros.frames.images import encode_png
from asymformer_ros.node.camera import Camera
from asymformer_ros.node.outputs import Result
from asymformer_ros.system.files import user_folder, write_folder_atomically

PATIENCE = 5.0
"""Seconds that a snapshot waits for the next frame of every camera."""


def save_next_frames(cameras: Sequence[Camera], folder: str, cancelled: Callable[[], bool]) -> Path:
    """Write the next frame of each camera into a new folder inside `folder`, and return its path.

    folder: "" for the user's own, ~/.local/share/asymformer_ros/snapshots. cancelled: whether to give up.
    It holds rgb.png, depth.png (16 bit, millimetres, 0 unknown), labels.png, overlay.png and meta.json; of several
    cameras, each in a folder of its name. It appears whole or not at all. Raises FrameError where a camera gives no
    frame within PATIENCE, AsymformerError where the folder cannot be written.
    """
    results = _next_results(cameras, cancelled)
    first = next(iter(results.values())).header.stamp
    contents = {
        f"{camera}/{name}" if camera else name: content
        for camera, result in results.items()
        for name, content in _files(result).items()
    }
    try:
        base = Path(folder).expanduser() if folder else user_folder("XDG_DATA_HOME", ".local/share") / "snapshots"
        return write_folder_atomically(base / f"snapshot-{first.sec}.{first.nanosec:09d}", contents)
    except (OSError, RuntimeError) as error:  # the latter where "~" has no home
        raise AsymformerError(f"cannot write a snapshot: {error}") from error


def _next_results(cameras: Sequence[Camera], cancelled: Callable[[], bool]) -> Mapping[str, Result]:
    """The next result of each camera, by its name."""
    came: queue.SimpleQueue[tuple[str, Result]] = queue.SimpleQueue()
    results: dict[str, Result] = {}
    end = monotonic() + PATIENCE

    def take(name: str, result: Result) -> None:
        came.put((name, result))

    for camera in cameras:
        camera.outputs.take_next(partial(take, camera.name))
    try:
        while len(results) < len(cameras):
            if cancelled() or monotonic() > end:
                silent = ", ".join(f"'{camera.name}'" for camera in cameras if camera.name not in results)
                of = f" of camera {silent}" if len(cameras) > 1 else ""
                raise FrameError(f"no frame{of} was segmented within {PATIENCE:.0f} s: /diagnostics says why")
            try:
                name, result = came.get(timeout=0.1)
                results[name] = result
            except queue.Empty:
                continue
    finally:
        for camera in cameras:
            camera.outputs.take_next(None)
    return results


def _files(result: Result) -> dict[str, bytes]:
    segmentation = result.segmentation
    return {
        "rgb.png": encode_png(segmentation.frame.rgb),
        "depth.png": encode_png(depth_millimetres(segmentation.frame.depth)),
        "labels.png": encode_png(segmentation.labels),
        "overlay.png": encode_png(segmentation.overlay(legend=True)),
        "meta.json": json.dumps(_meta(result), indent=2).encode() + b"\n",
    }


def _meta(result: Result) -> dict[str, object]:
    header, info, times = result.header, result.camera_info, result.segmentation.times
    calibration = {name: [float(v) for v in getattr(info, name)] for name in ("k", "d", "r", "p")} if info else None
    return {
        "stamp": {"sec": header.stamp.sec, "nanosec": header.stamp.nanosec},
        "frame_id": header.frame_id,
        "model": result.model,
        "backend": result.backend,
        **result.segmentation.summary(),
        "class_names": list(result.segmentation.label_set.names),
        "camera_info": calibration,
        "milliseconds": {
            "age": result.age_ms,
            "convert": result.convert_ms,
            "preprocess": times.preprocess,
            "inference": times.inference,
            "postprocess": times.postprocess,
        },
    }
