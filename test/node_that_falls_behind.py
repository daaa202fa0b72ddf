"""The segmentation node on a machine that seemed fast when a size was chosen, and looks at its rate after a moment."""

from __future__ import annotations

import sys

from asymformer_ros.inference import ladder
from asymformer_ros.node import segmentation_node

ladder.SHARE = 1e9
segmentation_node._PATIENCE = 0.5
sys.exit(segmentation_node.main())
