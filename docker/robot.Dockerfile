# ROS 2 Jazzy with the segmentation node: `docker build -f docker/robot.Dockerfile -t segmentation .` in the source tree.
# Untried: it was written where no container could be built. docs/docker.md says how to run it.
FROM ros:jazzy
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /ws
COPY . src/asymformer_ros

RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv \
 && rosdep update --rosdistro "$ROS_DISTRO" \
 && rosdep install --from-paths src --ignore-src -r -y \
 && rm -rf /var/lib/apt/lists/*

# NumPy and OpenCV stay the distribution's, which cv_bridge is compiled against. With PyTorch: `onnx,torch`, 1 GB more.
ARG EXTRAS=onnx
RUN python3 -m venv --system-site-packages venv \
 && touch venv/COLCON_IGNORE \
 && source venv/bin/activate \
 && python src/asymformer_ros/scripts/requirements.py "$EXTRAS" | grep -v '^opencv' > requirements.txt \
 && echo 'numpy<2' > constraints.txt \
 && pip install --no-cache-dir -c constraints.txt -r requirements.txt

RUN source venv/bin/activate \
 && set +u && source "/opt/ros/$ROS_DISTRO/setup.bash" && set -u \
 && python -m colcon build --packages-select asymformer_ros

ENTRYPOINT ["/ws/src/asymformer_ros/docker/entrypoint.sh"]
CMD ["ros2", "launch", "asymformer_ros", "segment.launch.py", "camera:=realsense"]
