"""Runs a command with an environment of ROS wheels as its ROS installation, for colcon on a machine without one.

    wheel_underlay.py VENV UNDERLAY COMMAND...

The CMake files in the wheels name the Python and NumPy include folders of the machine that built the wheels, and
CMake stops at a folder that is not there. UNDERLAY becomes a prefix of links into VENV with a corrected copy of its
share/. A ROS distribution needs none of this.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

_FOREIGN_NUMPY = re.compile(r'/opt/python/[^;"]+/numpy/_core/include')
_FOREIGN_PYTHON = re.compile(r'/opt/python/[^/;"]+/include/python[0-9.]+')


def make_underlay(venv: Path, underlay: Path) -> None:
    """Write `underlay` anew from `venv`, which holds the ROS wheels and NumPy."""
    shutil.rmtree(underlay, ignore_errors=True)
    underlay.mkdir(parents=True)
    for name in ("include", "lib", "tools"):
        if (venv / name).exists():
            (underlay / name).symlink_to(venv.resolve() / name)
    shutil.copytree(venv / "share", underlay / "share")
    python, numpy = _include_folders(venv)
    for path in (underlay / "share").glob("*/cmake/*.cmake"):
        text = path.read_text()
        corrected = _FOREIGN_PYTHON.sub(python, _FOREIGN_NUMPY.sub(numpy, text))
        if corrected != text:
            path.write_text(corrected)


def underlay_environment(venv: Path, underlay: Path) -> dict[str, str]:
    """This process's environment variables, with the wheels in place of any other ROS installation."""
    venv, underlay = venv.resolve(), underlay.resolve()
    libraries = [venv / "lib", *sorted(venv.glob("lib/python3*/site-packages/ros_*.libs"))]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "COLCON_PREFIX_PATH")
    }
    return environment | {
        "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "AMENT_PREFIX_PATH": str(underlay),
        "CMAKE_PREFIX_PATH": str(underlay),
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",  # the wheels' own start-up would set these again, for VENV
    }


def _include_folders(venv: Path) -> list[str]:
    program = "import numpy, sysconfig; print(sysconfig.get_path('include')); print(numpy.get_include())"
    result = subprocess.run([venv / "bin/python", "-c", program], capture_output=True, text=True, check=True)
    return result.stdout.splitlines()


def main() -> int:
    if len(sys.argv) < 4:
        sys.exit(f"usage: {sys.argv[0]} VENV UNDERLAY COMMAND...")
    venv, underlay = Path(sys.argv[1]), Path(sys.argv[2])
    make_underlay(venv, underlay)
    return subprocess.run(sys.argv[3:], env=underlay_environment(venv, underlay), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
