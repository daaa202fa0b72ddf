# JetPack 6 with ROS 2 Humble and the segmentation node, with CUDA and TensorRT from the base image:
# `docker build -f docker/jetson.Dockerfile -t segmentation .` on the Jetson, in the source tree.
# Untried: it was written where no container could be built, and no Jetson was at hand. docs/docker.md says how to run it.
ARG L4T=r36.4.0
FROM nvcr.io/nvidia/l4t-jetpack:${L4T}
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8 ROS_DISTRO=humble
WORKDIR /ws

RUN apt-get update \
 && apt-get install -y --no-install-recommends curl ca-certificates python3-venv python3-libnvinfer \
 && curl -fsSL https://raw.githubusercontent.com/ros/rosdistro/master/ros.key -o /usr/share/keyrings/ros.gpg \
 && echo "deb [signed-by=/usr/share/keyrings/ros.gpg] http://packages.ros.org/ros2/ubuntu jammy main" \
    > /etc/apt/sources.list.d/ros2.list \
 && apt-get update \
 && apt-get install -y --no-install-recommends \
    build-essential ros-humble-ros-base python3-rosdep python3-colcon-common-extensions \
 && rosdep init \
 && rm -rf /var/lib/apt/lists/*

COPY . src/asymformer_ros
RUN apt-get update \
 && rosdep update --rosdistro "$ROS_DISTRO" \
 && rosdep install --from-paths src --ignore-src -r -y \
 && rm -rf /var/lib/apt/lists/*

# pycuda compiles, with the nvcc of the base image. PyTorch is not needed: ONNX Runtime serves until the engine is built.
ENV PATH=/usr/local/cuda/bin:$PATH
RUN python3 -m venv --system-site-packages venv \
 && touch venv/COLCON_IGNORE \
 && source venv/bin/activate \
 && python src/asymformer_ros/scripts/requirements.py onnx | grep -v '^opencv' > requirements.txt \
 && echo 'numpy<2' > constraints.txt \
 && pip install --no-cache-dir -c constraints.txt -r requirements.txt pycuda

RUN source venv/bin/activate \
 && set +u && source "/opt/ros/$ROS_DISTRO/setup.bash" && set -u \
 && python -m colcon build --packages-select asymformer_ros

ENTRYPOINT ["/ws/src/asymformer_ros/docker/entrypoint.sh"]
CMD ["ros2", "launch", "asymformer_ros", "segment.launch.py", "camera:=realsense"]
