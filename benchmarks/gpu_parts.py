"""The parts of `scripts/gpu_check`, each run as a process of its own: `python gpu_parts.py PART MODEL FOLDER ...`.

The last line that a part prints is its answer as JSON: a result, or {"reason": why it cannot run}.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gpu_engine import OTHERS, Said
from gpu_questions import QUESTIONS
from gpu_speeds import SPEEDS

from asymformer_ros.engine.driver import NoGpu, probe_gpu
from asymformer_ros.errors import AsymformerError

PARTS = {**SPEEDS, **QUESTIONS}


def main() -> int:
    logging.getLogger("asymformer_ros").addHandler(Said())
    logging.getLogger("asymformer_ros").setLevel(logging.INFO)
    name, model, folder, *others = sys.argv[1:]
    OTHERS.extend(others)
    gpu = probe_gpu()
    if isinstance(gpu, NoGpu):
        answer: dict[str, Any] = {"reason": gpu.reason}
    else:
        try:
            answer = PARTS[name](name, model, Path(folder))
        except (AsymformerError, ImportError, RuntimeError) as error:
            answer = {"reason": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
