"""Half precision where it makes training quicker."""

from __future__ import annotations

from pathlib import Path

import torch


def half_type(device: torch.device) -> torch.dtype | None:
    """The type that autocast is to use on a device: float16 with CUDA, bfloat16 on a CPU with AMX, else None."""
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if device.type == "cpu" and _has_amx() else None


def _has_amx() -> bool:
    """Whether products of bfloat16 have hardware of their own; without it they are no quicker than float32's."""
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:  # no Linux
        return False
