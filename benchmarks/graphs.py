"""ONNX files of one network against each other: nodes, TensorRT-RTX layers, CPU time in ONNX Runtime, equal labels.

    asymformer export demo new.onnx            # and old.onnx in a checkout of another version
    taskset -c 0 python benchmarks/graphs.py old.onnx new.onnx
    taskset -c 0 python benchmarks/graphs.py old.onnx new.onnx --raw confidence

Each file answers the same frame by turns, and the order turns, too. Ratios are against the first file, of medians and
of minima, in CPU time of the process, which other processes disturb less than wall time.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measuring import by_turns, table

from asymformer_ros.engine.frames import sample_frames
from asymformer_ros.errors import AsymformerError
from asymformer_ros.frames.resize import resize_frame
from asymformer_ros.inference.onnxruntime import OnnxRuntimeBackend
from asymformer_ros.models.onnx_file import load, read_onnx
from asymformer_ros.onnx_graph.outputs import keep_outputs
from asymformer_ros.onnx_graph.session import GraphSession

RAW = {"labels": ["labels"], "confidence": ["labels", "confidence"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="exports of one network; the first is the measure")
    parser.add_argument("--runs", type=int, default=40, help="of each file, after one to warm up")
    parser.add_argument("--confidence", action="store_true", help="serve confidence, too")
    parser.add_argument("--raw", choices=RAW, help="the file's own outputs in place of what the package serves of it")
    args = parser.parse_args()
    frame = next(iter(sample_frames(None, 1)))
    try:
        answers = [_answer(file, frame, args) for file in args.files]
    except AsymformerError as error:
        parser.error(str(error))
    labels = [answer() for answer in answers]
    times = by_turns(answers, args.runs).cpu
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}, {args.runs} runs\n")
    ratios = [function(times, axis=1) / function(times[0]) for function in (np.median, np.min)]
    rows = [
        (
            *(file.name, len(load(file).graph.node), _layers(file), f"{np.median(own):.1f}", f"{own.min():.1f}"),
            *(f"{ratio[at]:.3f}" for ratio in ratios),
            f"{(labels[at] == labels[0]).mean():.3%}",
        )
        for at, (file, own) in enumerate(zip(args.files, times, strict=True))
    ]
    head = ("file", "nodes", "layers", "median (CPU ms)", "least", "ratio of medians", "of the least", "same labels")
    print(table(head, rows))


def _answer(file: Path, frame: object, args: argparse.Namespace) -> Callable[[], np.ndarray]:
    """What gives the labels of the frame."""
    model = read_onnx(file)
    rgb, depth = resize_frame(frame, model.card.input_size)
    if args.raw is None:
        backend = OnnxRuntimeBackend(model)
        return lambda: backend.infer(rgb, depth, with_confidence=args.confidence).labels
    session, feeds = GraphSession(keep_outputs(model.proto, RAW[args.raw])), model.feeds(rgb, depth)
    return lambda: session.run(["labels"], feeds)[0][0]


def _layers(file: Path) -> str:
    """How many layers TensorRT-RTX's parser makes of a file, without building it."""
    try:
        import tensorrt_rtx
    except ImportError:
        return "-"
    logger = tensorrt_rtx.Logger(tensorrt_rtx.Logger.ERROR)
    network = tensorrt_rtx.Builder(logger).create_network()
    parsed = tensorrt_rtx.OnnxParser(network, logger).parse(load(file).SerializeToString())
    return str(network.num_layers) if parsed else "refused"


if __name__ == "__main__":
    main()
