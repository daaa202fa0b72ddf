"""Half precision where it makes training quicker."""

from __future__ import annotations

import torch

from asymformer_ros.system.limits import computes_bfloat16


def half_type(device: torch.device) -> torch.dtype | None:
    """The type that autocast is to use on a device: float16 with CUDA, bfloat16 on a CPU that has it, else None."""
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if device.type == "cpu" and computes_bfloat16() else None
