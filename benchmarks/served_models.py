"""The models that the benchmarks serve, with the graphs that a CPU serves them by: made once in a folder.

python benchmarks/served_models.py untrained_full FOLDER     # a process of its own: its memory is not the caller's
"""

from __future__ import annotations

import subprocess
import sys
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


def main() -> int:
    """Make both."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    open_serving(str(bundle_file(name, folder)), serving(folder, "onnxruntime", "fp32")).close()
    return 0


def node_parameters(model: str, folder: Path) -> list[str]:
    """Of the segmentation node: a name, or for the published network a file whose graph is there when it starts."""
    if model != PUBLISHED:
        return [f"model:={model}"]
    subprocess.run([sys.executable, __file__, model, str(folder)], check=True, capture_output=True)
    return [f"model:={bundle_file(model, folder)}", f"engine_cache:={folder}"]


if __name__ == "__main__":
    sys.exit(main())
