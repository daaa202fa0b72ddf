# mypy: disable-error-code="no-any-return"
"""RGB branch: EfficientNet-Lite (Tan and Le, 2019; the Lite variants of 2020), without its head.

Against EfficientNet it has ReLU6 and no squeeze-and-excitation, and its stem and first and last groups keep their size.
Strided convolutions are padded evenly here; TensorFlow pads images of even size by one pixel less at the top left.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.network.layers import DepthwiseConv2d, ImageDropout

BATCH_NORM_EPS = 1e-3

MULTIPLIERS = {"efficientnet-lite0": (1.0, 1.0), "efficientnet-lite1": (1.0, 1.1), "efficientnet-lite2": (1.1, 1.2)}
"""Of width and depth, by name."""

_STEM_WIDTH = 32
_STAGES = ((0, 1), (2,), (3, 4), (5, 6))
"""Groups that end at stride 4, 8, 16 and 32."""


class Group(NamedTuple):
    """Blocks of one width; the stride is the first one's."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


_B0 = (
    Group(1, 3, 1, 1, 16),
    Group(2, 3, 2, 6, 24),
    Group(2, 5, 2, 6, 40),
    Group(3, 3, 2, 6, 80),
    Group(3, 5, 1, 6, 112),
    Group(4, 5, 2, 6, 192),
    Group(1, 3, 1, 6, 320),
)
"""EfficientNet-B0 (Tan and Le, 2019, table 1)."""


def stage_widths(name: str) -> tuple[int, ...]:
    """Channels at stride 4, 8, 16 and 32. Raises ConfigurationError where there is no network of this name."""
    groups = _groups(name)
    return tuple(groups[stage[-1]].width for stage in _STAGES)


def stage_blocks(name: str) -> tuple[int, ...]:
    """Blocks of the stages of stride 4, 8, 16 and 32; raises as `stage_widths` does."""
    groups = _groups(name)
    return tuple(sum(groups[number].blocks for number in stage) for stage in _STAGES)


class EfficientNetStage(nn.Sequential):
    """One stage, the first with the stem: (N, C_in, H, W) to (N, width, H/s, W/s), s being 4 or 2."""

    def __init__(self, name: str, index: int) -> None:
        super().__init__()
        groups = _groups(name)
        if index == 0:
            self.stem = ConvNorm(nn.Conv2d(3, _STEM_WIDTH, kernel_size=3, stride=2, padding=1, bias=False))
        width = groups[_STAGES[index][0] - 1].width if index else _STEM_WIDTH
        self.blocks = nn.Sequential()
        for number in _STAGES[index]:
            for position in range(groups[number].blocks):
                self.blocks.append(InvertedResidual(width, groups[number], first=position == 0))
                width = groups[number].width


class ConvNorm(nn.Sequential):
    """Convolution, batch normalisation and, unless `activate` is False, ReLU6."""

    def __init__(self, conv: nn.Conv2d, *, activate: bool = True) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels, eps=BATCH_NORM_EPS, momentum=0.01)
        if activate:
            self.activation = nn.ReLU6(inplace=True)


class InvertedResidual(nn.Module):
    """1x1 convolution to more channels, depthwise one, 1x1 to `group.width`; residual where the shape stays.

    drop_path: leaves out all but the residual of an image (stochastic depth); never, as long as its rate is 0.
    """

    def __init__(self, in_width: int, group: Group, *, first: bool) -> None:
        super().__init__()
        hidden, stride = in_width * group.expansion, group.stride if first else 1
        self.expand: nn.Module = nn.Identity()
        if group.expansion > 1:
            self.expand = ConvNorm(nn.Conv2d(in_width, hidden, kernel_size=1, bias=False))
        self.depthwise = ConvNorm(DepthwiseConv2d(hidden, group.kernel, stride=stride, bias=False))
        self.project = ConvNorm(nn.Conv2d(hidden, group.width, kernel_size=1, bias=False), activate=False)
        self.residual = stride == 1 and in_width == group.width
        self.drop_path = ImageDropout(0.0, each_channel=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + self.drop_path(y) if self.residual else y


def _groups(name: str) -> list[Group]:
    if name not in MULTIPLIERS:
        raise ConfigurationError(f"rgb_backbone must be convnext or one of {', '.join(MULTIPLIERS)}, got {name}")
    wider, deeper = MULTIPLIERS[name]
    last = len(_B0) - 1
    return [
        group._replace(
            blocks=group.blocks if number in (0, last) else math.ceil(group.blocks * deeper),
            width=_multiple_of_8(group.width * wider),
        )
        for number, group in enumerate(_B0)
    ]


def _multiple_of_8(width: float) -> int:
    """The nearest one that is not more than a tenth smaller."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded
