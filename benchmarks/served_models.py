"""The models that the benchmarks serve, with the graphs that a CPU serves them by: made once in a folder.

python benchmarks/served_models.py untrained_full FOLDER     # a process of its own: its memory is not the caller's
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from measuring import PUBLISHED

from asymformer_ros.inference.options import ServingOptions
from asymformer_ros.inference.selection import open_serving
from asymformer_ros.models.opening import open_bundle


def serving(folder: Path, backend: str, precision: str) -> ServingOptions:
    """On the CPU, with graphs that are kept in the folder."""
    return ServingOptions(backend, "cpu", precision=precision, engine_cache=str(folder))


def bundle_file(name: str, folder: Path, input_size: tuple[int, int] | None = None) -> Path:
    """A model's bundle as a file in the folder. input_size: in place of the card's own. Raises AsymformerError."""
    path = folder / "-".join([Path(name).stem, *map(str, input_size or ()), "bundle.safetensors"])
    if not path.is_file():
        bundle = open_bundle(name)
        card = replace(bundle.card, input_size=input_size or bundle.card.input_size)
        replace(bundle, card=card).save(path)
    return path


def node_parameters(model: str, folder: Path) -> list[str]:
    """Of the segmentation node, so that the graph that it serves is there when it starts, as from a second start on.

    Raises SystemExit where it cannot be made.
    """
    told = subprocess.run([sys.executable, __file__, model, str(folder)], check=False, capture_output=True, text=True)
    if told.returncode:
        raise SystemExit(f"the graph of {model} cannot be made: {told.stderr.strip().splitlines()[-1]}")
    return [f"model:={_named(model, folder)}", f"engine_cache:={folder}"]


def _named(model: str, folder: Path) -> str:
    """What a user has of the published network is a file."""
    return str(bundle_file(model, folder)) if model == PUBLISHED else model


def main() -> int:
    """Serve the model until its graph is kept. Returns 0."""
    model, folder = sys.argv[1], Path(sys.argv[2])
    with closing(open_serving(_named(model, folder), serving(folder, "auto", "fp32"))) as backend:
        while hasattr(backend, "progress") and not backend.progress.endswith(" serves"):
            if backend.progress.startswith("none"):
                raise SystemExit(backend.progress)
            time.sleep(0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
