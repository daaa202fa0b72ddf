"""Half precision where it makes training quicker."""

from __future__ import annotations

from pathlib import Path

import torch


def half_type(device: torch.device) -> torch.dtype | None:
    """The type that autocast is to use on a device: float16 with CUDA, bfloat16 on a CPU that has it, else None."""
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if device.type == "cpu" and _computes_bfloat16() else None


def _computes_bfloat16() -> bool:
    """Whether the CPU has instructions for products of bfloat16; without, they are no quicker than float32's."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
        return "amx_bf16" in flags or "avx512_bf16" in flags
    except OSError:  # no Linux
        return False
