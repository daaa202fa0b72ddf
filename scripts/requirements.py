"""Prints what the package and some of its extras need, one a line, for `pip install -r`: the package is not built.

requirements.py ros,onnx
requirements.py ros,onnx --oldest    # the oldest version that setup.cfg allows, where it names one
"""

from __future__ import annotations

import argparse
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


def oldest(requirement: str) -> str:
    """`numpy>=1.26` as `numpy==1.26.*`; unchanged where no oldest version is named, or a newest one beside it.

    PyTorch stays as it is: the Makefile chooses its build.
    """
    wanted, *marker = requirement.split(";")
    name, bound, version = wanted.partition(">=")
    if not bound or "," in version or name == "torch":
        return requirement
    return ";".join([f"{name}=={version}.*", *marker])


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description="requirements of the package and of some of its extras")
    parser.add_argument("extras", help="names in setup.cfg, with commas between")
    parser.add_argument("--oldest", action="store_true", help="the oldest versions in place of the newest")
    arguments = parser.parse_args()
    lines = requirements(arguments.extras.split(","))
    sys.stdout.writelines(f"{oldest(line) if arguments.oldest else line}\n" for line in lines)


if __name__ == "__main__":
    main()
