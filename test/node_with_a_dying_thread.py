"""The segmentation node with a library that ends the thread that segments, as a call of exit() would."""

from __future__ import annotations

import sys
from typing import Any

from asymformer_ros.inference.segmenter import Segmenter
from asymformer_ros.node.segmentation_node import main


def segment_all(*_: Any, **__: Any) -> None:
    raise SystemExit(3)


Segmenter.segment_all = segment_all  # type: ignore[assignment,method-assign]
sys.exit(main())
