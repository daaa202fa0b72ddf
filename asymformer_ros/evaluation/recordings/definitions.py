"""Definitions of the messages in a bag of results, where no ROS installation has them."""

VISION_CLASS = "uint16 class_id\nstring class_name\n"
LABEL_INFO = "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n"
"""Of vision_msgs."""

CLASS_SUMMARY = """\
uint8 id
string name
float32 pixel_fraction
float32 mean_confidence
float32 nearest_distance
float32 centroid_x
float32 centroid_y
"""
SUMMARY = """\
std_msgs/Header header
ClassSummary[] classes
float32 unlabelled_fraction
bool rgb_only
string model
string backend
string engine
float32 convert_ms
float32 preprocess_ms
float32 inference_ms
float32 postprocess_ms
float32 age_ms
"""
"""Of this package's msg/, without the comments; a test compares them."""
