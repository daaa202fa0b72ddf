"""ROS at the rim: the only package that imports rclpy and message types."""

OWN_CAMERAS = ("sim", "folder")
"""What the package's camera node shows: simulated rooms, or a recording."""
