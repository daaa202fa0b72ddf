"""Semantic segmentation of RGB-D images with AsymFormer, for ROS 2."""

import pkgutil

__version__ = "0.1.0"

# The generated asymformer_ros.msg lies in the installed package: a source tree in front of it must not hide it.
__path__ = pkgutil.extend_path(__path__, __name__)
