#!/usr/bin/env bash
# Runs a command with ROS, the workspace and its virtual environment in place.
set -e
source /ws/venv/bin/activate
source "/opt/ros/$ROS_DISTRO/setup.bash"
source /ws/install/setup.bash
exec "$@"
