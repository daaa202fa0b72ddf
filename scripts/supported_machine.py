"""Says in one sentence why `pip install .` cannot work on this machine; run as a program it exits with 1 then.

Plain syntax that old Pythons can read, for they are the ones that need the sentence.
"""

import platform
import shutil
import sys


def missing_wheels():
    # type: () -> str | None
    """Why there are no ROS 2 wheels for this Python and machine, or None where there are."""
    pythons_known = (3, 10) <= sys.version_info < (3, 13)
    if pythons_known and sys.platform == "linux" and platform.machine() == "x86_64":
        return None
    return (
        "asymformer_ros installs with pip on Linux x86_64 with Python 3.10, 3.11 or 3.12, for which there are "
        "ROS 2 wheels; this is {} {} with Python {}: use one of these Pythons (make venv PYTHON=python3.12), "
        "or a ROS 2 distribution and colcon build".format(sys.platform, platform.machine(), platform.python_version())
    )


def missing_compiler():
    # type: () -> str | None
    """Why the ROS messages cannot be compiled here, or None where they can."""
    if shutil.which("cc") and shutil.which("c++"):
        return None
    return "asymformer_ros compiles its ROS messages and found no compilers cc and c++: install gcc and g++"


if __name__ == "__main__":
    sys.exit(missing_wheels() or missing_compiler())
