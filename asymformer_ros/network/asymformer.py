# mypy: disable-error-code="no-any-return"
"""AsymFormer: an RGB branch and a narrower depth branch, fused after each stage (arXiv 2309.14065)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from asymformer_ros.errors import ConfigurationError
from asymformer_ros.frames.frame import UNLABELLED
from asymformer_ros.network.convnext import ConvNeXtStage
from asymformer_ros.network.decoder import Decoder, resize
from asymformer_ros.network.efficientnet import EfficientNetStage, stage_blocks, stage_widths
from asymformer_ros.network.fusion import Fusion
from asymformer_ros.network.mix_transformer import MixTransformerStage

STRIDE = 32
"""Height and width of the input are multiples of this."""

CONVNEXT = "convnext"

FourInts = tuple[int, int, int, int]


_WIDEST, _MOST_BLOCKS = 4096, 256  # channels, and blocks of a stage: beyond any network of this kind


@dataclass(frozen=True)
class AsymFormerConfig:
    """Widths and depths of an AsymFormer; the defaults are the published network (ConvNeXt-Tiny and MiT-B0).

    Each tuple has one value per stage, of stride 4, 8, 16 and 32. `reductions` say how many times smaller, on each
    side, the map is from which the depth branch's attention takes keys and values. rgb_backbone: `convnext`, or an
    EfficientNet-Lite, `efficientnet-lite0` to `-lite2`, whose name fixes rgb_widths and rgb_blocks.
    Raises ConfigurationError where no network can have these values.
    """

    num_classes: int = 40
    rgb_widths: FourInts = (96, 192, 384, 768)
    rgb_blocks: FourInts = (3, 3, 9, 3)
    depth_widths: FourInts = (32, 64, 160, 256)
    depth_blocks: FourInts = (2, 2, 2, 2)
    depth_heads: FourInts = (1, 2, 5, 8)
    depth_reductions: FourInts = (8, 4, 2, 1)
    decoder_width: int = 256
    rgb_backbone: str = CONVNEXT

    def __post_init__(self) -> None:
        for name, most in (("num_classes", UNLABELLED), ("decoder_width", _WIDEST)):
            if not _is_count(getattr(self, name), most):
                raise ConfigurationError(f"{name} must be 1..{most}, got {getattr(self, name)!r}")
        for name in ("rgb_widths", "rgb_blocks", "depth_widths", "depth_blocks", "depth_heads", "depth_reductions"):
            values, most = getattr(self, name), _MOST_BLOCKS if name.endswith("blocks") else _WIDEST
            if not isinstance(values, tuple) or len(values) != 4 or not all(_is_count(one, most) for one in values):
                raise ConfigurationError(
                    f"{name} needs four values of at least 1, one per stage, whole, at most {most}, got {values!r}"
                )
        if self.rgb_backbone != CONVNEXT:
            self._check_efficientnet()
        for stage in range(4):
            self._check_stage(stage)

    def _check_efficientnet(self) -> None:
        widths, blocks = stage_widths(self.rgb_backbone), stage_blocks(self.rgb_backbone)
        if (self.rgb_widths, self.rgb_blocks) != (widths, blocks):
            raise ConfigurationError(
                f"{self.rgb_backbone} has rgb_widths {widths} and rgb_blocks {blocks}, got {self.rgb_widths} and "
                f"{self.rgb_blocks}"
            )

    def _check_stage(self, stage: int) -> None:
        width, heads, reduction = self.depth_widths[stage], self.depth_heads[stage], self.depth_reductions[stage]
        if width % 8 or self.rgb_widths[stage] % 8:
            raise ConfigurationError(
                f"widths must be multiples of 8, got {self.rgb_widths[stage]} (RGB) and {width} (depth) "
                f"in stage {stage + 1}"
            )
        if width % heads:
            raise ConfigurationError(f"depth width {width} of stage {stage + 1} is no multiple of its {heads} heads")
        if (8 >> stage) % reduction:
            raise ConfigurationError(
                f"reduction of stage {stage + 1} must divide {8 >> stage}, got {reduction}: "
                f"an input of {STRIDE} pixels has {8 >> stage} there"
            )


def _is_count(value: object, most: int) -> bool:
    """Whether it is a whole number of 1 to `most`: a configuration may come from a file of anyone."""
    return type(value) is int and 1 <= value <= most


FULL = AsymFormerConfig()
"""The published network: 33.06 M parameters."""

SMALL = AsymFormerConfig(
    rgb_widths=(32, 64, 128, 256),
    rgb_blocks=(2, 2, 6, 2),
    depth_widths=(16, 32, 64, 128),
    depth_heads=(1, 2, 4, 8),
    decoder_width=128,
)
"""A network of the same kind for quick trials, small enough to run at 256x320 on a CPU."""

ROOMS = AsymFormerConfig(
    rgb_backbone="efficientnet-lite2",
    rgb_widths=(24, 48, 120, 352),
    rgb_blocks=(4, 3, 8, 6),
    depth_widths=(16, 32, 96, 160),
    depth_heads=(1, 2, 3, 5),
    decoder_width=160,
)
"""A network for a CPU whose RGB branch can start from ImageNet weights that are freely licensed: 6.3 M parameters."""

CONFIGS = {"full": FULL, "small": SMALL, "rooms": ROOMS}
"""By the names that commands have for them; the input size of each is in `asymformer_ros.models.card`."""


class Stage(nn.Module):
    """One stage of both branches and, from the second stage on, their fusion."""

    def __init__(self, config: AsymFormerConfig, index: int) -> None:
        super().__init__()
        first = index == 0
        rgb_in, depth_in = (3, 1) if first else (config.rgb_widths[index - 1], config.depth_widths[index - 1])
        rgb_width, depth_width = config.rgb_widths[index], config.depth_widths[index]
        self.rgb: nn.Module
        if config.rgb_backbone == CONVNEXT:
            self.rgb = ConvNeXtStage(rgb_in, rgb_width, config.rgb_blocks[index], first=first)
        else:
            self.rgb = EfficientNetStage(config.rgb_backbone, index)
        self.depth = MixTransformerStage(
            depth_in, depth_width, config.depth_blocks[index], config.depth_heads[index], config.depth_reductions[index]
        )
        self.fusion = None if first else Fusion(depth_width, rgb_width)

    def forward(self, rgb: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Both branches' maps to the next RGB map and the next fused map, which goes on in the depth branch."""
        rgb, depth = self.rgb(rgb), self.depth(depth)
        return rgb, depth if self.fusion is None else self.fusion(depth, rgb)


class AsymFormer(nn.Module):
    """RGB-D semantic segmentation: normalised colour and depth to class logits.

    Inputs are float: rgb (N, 3, H, W) and depth (N, 1, H, W), both normalised as the weights want it
    (see `ModelCard.normalization`), H and W multiples of 32. Raises ConfigurationError for another size.
    """

    def __init__(self, config: AsymFormerConfig = FULL) -> None:
        super().__init__()
        self.config = config
        self.stages = nn.ModuleList(Stage(config, index) for index in range(4))
        self.decoder: nn.Module = Decoder(config.depth_widths, config.decoder_width, config.num_classes)
        self.apply(_initialise)

    def forward(self, rgb: Tensor, depth: Tensor) -> Tensor:
        """Logits (N, classes, H, W)."""
        return resize(self.forward_stride4(rgb, depth), (rgb.shape[2], rgb.shape[3]))

    def forward_stride4(self, rgb: Tensor, depth: Tensor) -> Tensor:
        """Logits (N, classes, H/4, W/4), before the last bilinear resize."""
        return self.decoder([fused for _, fused in self.features(rgb, depth)])

    def features(self, rgb: Tensor, depth: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The RGB map and the fused map of each stage: (N, C, H/s, W/s) with s = 4, 8, 16, 32."""
        _check_size(rgb, depth)
        maps = []
        for stage in self.stages:
            rgb, depth = stage(rgb, depth)
            maps.append((rgb, depth))
        return maps


def _check_size(rgb: Tensor, depth: Tensor) -> None:
    height, width = rgb.shape[2], rgb.shape[3]
    if height % STRIDE or width % STRIDE:
        raise ConfigurationError(f"height x width must be multiples of {STRIDE}, got {height}x{width}")
    if depth.shape[2:] != rgb.shape[2:]:
        raise ConfigurationError(f"rgb is {height}x{width} but depth is {depth.shape[2]}x{depth.shape[3]}")


def _initialise(module: nn.Module) -> None:
    """As ConvNeXt and SegFormer start: truncated normal of 0.02, biases 0."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
