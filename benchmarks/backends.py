"""Time per frame of ONNX Runtime and of PyTorch on this machine's CPU, on the same frames by turns.

Each backend takes a whole frame and gives labels, pre- and post-processing included. `ratio` is the median over pairs.

    python benchmarks/backends.py --frames 20
    python benchmarks/backends.py --models untrained nyuv2.safetensors
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter

import numpy as np

from asymformer_ros.engine.frames import sample_frames
from asymformer_ros.frames.resize import resize_frame
from asymformer_ros.inference.backend import InferenceBackend
from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.selection import open_serving
from asymformer_ros.models.export import write_model
from asymformer_ros.models.opening import open_model

_WARM_UP = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models", nargs="+", default=["untrained", "untrained_full"], help="bundles or built-in names"
    )
    parser.add_argument("--frames", type=int, default=10, help="pairs to time, after a warm-up of two")
    parser.add_argument("--recording", type=Path, help="recorded folder (default: four simulated rooms)")
    args = parser.parse_args()
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(f"{platform.machine()}, {cores} cores, load {load:.1f}, {args.frames} pairs")
    print(f"{'model':24}{'size':>10}{'torch ms':>18}{'onnxruntime ms':>18}{'ratio':>8}{'same labels':>13}")
    for model in args.models:
        print(_row(model, args.recording, args.frames))


def _row(model: str, recording: Path | None, frames: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_model(open_model(model, form="bundle").graph, path)
        backends = [
            open_serving(name, ServingOptions(library, "cpu"))
            for library, name in (("torch", model), ("onnxruntime", str(path)))
        ]
        times, same = _time(backends, recording, frames)
    height, width = backends[0].card.input_size
    torch, onnx = (f"{np.median(t):.0f} ({np.percentile(t, 5):.0f}..{np.percentile(t, 95):.0f})" for t in times)
    ratio = np.median(times[1] / times[0])
    return f"{Path(model).stem:24}{f'{height}x{width}':>10}{torch:>18}{onnx:>18}{ratio:>8.2f}{same:>13.3%}"


def _time(backends: list[InferenceBackend], recording: Path | None, frames: int) -> tuple[np.ndarray, float]:
    """(2, frames) milliseconds, and the smallest share of equal labels."""
    times, same = [], 1.0
    pairs = cycle(list(sample_frames(recording, frames + _WARM_UP)))
    for index, frame in enumerate(islice(pairs, frames + _WARM_UP)):
        rgb, depth = resize_frame(frame, backends[0].card.input_size)
        row, labels = [], []
        for backend in backends:
            start = perf_counter()
            labels.append(backend.infer(rgb, depth).labels)
            row.append((perf_counter() - start) * 1e3)
        same = min(same, float((labels[0] == labels[1]).mean()))
        if index >= _WARM_UP:
            times.append(row)
    return np.array(times).T, same


if __name__ == "__main__":
    main()
