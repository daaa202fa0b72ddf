"""Frames to try a model on: of a recording, or of the simulated rooms that the package brings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.frame import RgbdFrame
from asymformer_ros.frames.recording import RgbdRecording

SIMULATED = "simulated rooms"

GOLDEN_FRAMES = Path(__file__).parent / "golden_frames"
"""Four frames of 640x480 from the simulated world (seeds 3000008, 3000039, 3000009, 3000027). They are files, so that
they are the same on every machine, and that none of them needs a ray caster."""


def sample_frames(folder: Path | None, count: int) -> Iterator[RgbdFrame]:
    """At most `count` frames, evenly spread over the recording in `folder`, or over the package's own four.

    Raises ConfigurationError for a count below 1, FrameError where the recording cannot be read.
    """
    if count < 1:
        raise ConfigurationError(f"count must be at least 1 frame, got {count}")
    recording = RgbdRecording(folder or GOLDEN_FRAMES)
    return (recording[int(at)] for at in np.unique(np.linspace(0, len(recording) - 1, count).round().astype(int)))
