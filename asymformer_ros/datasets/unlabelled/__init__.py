"""Frames to segment, from pairs of images, folders, videos and ROS 2 bags, on this machine or by URL."""

from __future__ import annotations

import glob
from pathlib import Path

from asymformer_ros.datasets.unlabelled.bag import BAG_FILES, BagSource, is_bag
from asymformer_ros.datasets.unlabelled.folders import folder_source
from asymformer_ros.datasets.unlabelled.images import image_source
from asymformer_ros.datasets.unlabelled.source import Source, SourceSpec
from asymformer_ros.datasets.unlabelled.urls import AnyPath, any_path, local_copy
from asymformer_ros.datasets.unlabelled.video import VIDEOS, VideoSource
from asymformer_ros.errors import ConfigurationError

__all__ = ["Source", "SourceSpec", "expand", "open_source"]


def open_source(spec: SourceSpec) -> Source:
    """What a spec names.

    Raises ConfigurationError where it is nothing that is known or cannot be reached, FrameError where it is broken.
    """
    if spec.depth:
        if Path(spec.path).suffix.lower() in VIDEOS:
            return VideoSource(spec)
        return image_source(spec)
    path = any_path(spec.path)
    try:
        is_there = path.exists()
    except Exception as error:  # a storage's library raises its own
        raise ConfigurationError(f"'{spec.path}' cannot be reached: {error}") from error
    if not is_there:
        raise ConfigurationError(f"there is no '{spec.path}'")
    if is_bag(path):
        return BagSource(spec, path)
    return _of_files(spec, path)


def _of_files(spec: SourceSpec, path: AnyPath) -> Source:
    if not path.is_dir():
        raise ConfigurationError(
            f"'{spec.path}' alone is nothing to segment: give a folder, a bag (a folder with metadata.yaml, .mcap or "
            ".db3), or with --rgb and --depth images, folders of images or a video with its depth"
        )
    if bags := sorted(one.name for one in path.iterdir() if one.suffix in BAG_FILES):
        raise ConfigurationError(
            f"'{spec.path}' has no metadata.yaml, as where a recorder was killed: `ros2 bag reindex` makes one, or "
            f"give one of its files: {', '.join(bags)}"
        )
    return folder_source(spec, local_copy(path))


def expand(pattern: str) -> list[str]:
    """The paths that a pattern with *, ? or [ stands for, in order; another path is itself.

    Raises ConfigurationError where nothing matches.
    """
    if not glob.has_magic(pattern) or "://" in pattern or Path(pattern).exists():
        return [pattern]
    found = sorted(glob.glob(pattern, recursive=True))
    if not found:
        raise ConfigurationError(f"nothing is called '{pattern}'")
    return found
