"""The segmentation node with a model that takes its time: SLOW=build asks its context, SLOW=library cannot be asked."""

from __future__ import annotations

import os
import sys
import time

from asymformer_ros.engine.context import BuildContext
from asymformer_ros.node import process, segmentation_node, serving


def open_serving(name: str, options: object, context: BuildContext) -> None:
    sys.stdout.write("loading\n")
    context.report("building: tactics 3/9, 5 s")
    if os.environ["SLOW"] == "library":
        time.sleep(60)
    while not context.wait(0.1):
        pass
    context.check()


serving.open_serving = open_serving  # type: ignore[assignment]
process.PATIENCE = 1.0
sys.exit(segmentation_node.main())
