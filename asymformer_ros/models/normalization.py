"""Means and standard deviations that belong to a model's weights, and how they are applied."""

from __future__ import annotations

from dataclasses import dataclass, replace

from asymformer_ros.errors import ConfigurationError


@dataclass(frozen=True)
class Normalization:
    """Means and standard deviations that belong to trained weights: RGB in 0..1, depth in metres."""

    rgb_mean: tuple[float, float, float]
    rgb_std: tuple[float, float, float]
    depth_mean: float
    depth_std: float

    def __post_init__(self) -> None:
        if len(self.rgb_mean) != 3 or len(self.rgb_std) != 3:
            raise ConfigurationError("rgb_mean and rgb_std need three values each, in RGB order")
        if min(*self.rgb_std, self.depth_std) <= 0:
            raise ConfigurationError(f"standard deviations must be above 0, got {self.rgb_std} and {self.depth_std}")

    @property
    def colour(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Scale and shift of each channel: `value * scale + shift` is normalised, for values in 0..255."""
        pairs = tuple(zip(self.rgb_mean, self.rgb_std, strict=True))
        return tuple(1 / (255 * std) for _, std in pairs), tuple(-mean / std for mean, std in pairs)

    @property
    def millimetres(self) -> tuple[float, float]:
        """Scale and shift of depth: `value * scale + shift` is normalised, for values in millimetres, 0 unknown."""
        return 0.001 / self.depth_std, -self.depth_mean / self.depth_std


PUBLISHED_NORMALIZATION = Normalization(
    rgb_mean=(0.4850042694973687, 0.41627756261047333, 0.3981809741523051),
    rgb_std=(0.26415541082494515, 0.2728415392982039, 0.2831175140191598),
    depth_mean=2.8424503515351494,
    depth_std=0.9932836506164299,
)
"""Of the published single-scale weights."""

EFFICIENTNET_LITE_NORMALIZATION = replace(PUBLISHED_NORMALIZATION, rgb_mean=(127 / 255,) * 3, rgb_std=(128 / 255,) * 3)
"""RGB as EfficientNet-Lite's ImageNet weights want it: (level - 127) / 128."""
