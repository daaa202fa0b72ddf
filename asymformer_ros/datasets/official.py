"""Which frames the authors of NYUv2 publish for testing, to tell where another list mixes them up."""

from __future__ import annotations

_FRAMES = 1449
_FEW = 100  # frames of a set that is no part of NYUv2 may be called by small numbers, too
_TEST = int(
    "1ff01e0f03fc1fe7f8001980f1c0fcf00060fe77ff0fc01ffe3c0073e0f8fff0f80fce67e3fff80c7fc701efeff8"
    "ffc000319806380700e0f07c001fe73c0070078e0700e00000000703f0e3fff00703e0f8007ffffffc000c03cf83"
    "1fe0733e1f9f8c386183f001f187c03c07c07fffc70071c3ffdf80000001ff3e000ff07e0003c001c3f80000ffcc"
    "0007ff01ce03f801fc1c08002000000380fc3fffff8fdc00700013df070000007f878007d8067fff813e103",
    16,
)
"""Bit n - 1 is set where frame n, from 1, is in testNdxs of splits.mat."""


def official_split(number: int) -> str:
    """Of SPLITS, the one that holds the number of a frame of NYUv2, 1 to 1449."""
    return "test" if _TEST >> (number - 1) & 1 else "train"


def are_of_nyuv2(names: list[str]) -> bool:
    """Whether frames are called by the numbers of NYUv2: a hundred or more of them."""
    return len(names) >= _FEW and all(name.isdecimal() and 1 <= int(name) <= _FRAMES for name in names)
