"""Prints what the package and some of its extras need, one a line, for `pip install -r`: the package is not built.

requirements.py ros,onnx
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path


def requirements(extras: list[str]) -> Iterator[str]:
    """Lines of setup.cfg. Ends the program where an extra is not in it."""
    config = ConfigParser()
    config.read(Path(__file__).resolve().parents[1] / "setup.cfg")
    known = config["options.extras_require"]
    unknown = [extra for extra in extras if extra not in known]
    if unknown:
        sys.exit(f"setup.cfg has no extra {', '.join(unknown)}: expected some of {', '.join(known)}")
    for text in (config["options"]["install_requires"], *(known[extra] for extra in extras)):
        yield from text.split("\n")[1:]


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in requirements(sys.argv[1].split(",")))
