"""ROS at the rim: the only package that imports rclpy and message types."""
