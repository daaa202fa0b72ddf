"""The numbers of a training: optimiser, schedule, loss and augmentation."""

from __future__ import annotations

from dataclasses import dataclass

from asymformer_ros.errors import ConfigurationError


@dataclass(frozen=True)
class Colour:
    """How far colours are changed: factors of brightness, contrast and saturation 1 ± value, hue by ± turns."""

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1

    def __post_init__(self) -> None:
        if not all(0 <= v < 1 for v in (self.brightness, self.contrast, self.saturation)) or not 0 <= self.hue <= 0.5:
            raise ConfigurationError(f"brightness, contrast, saturation are 0..1 and hue is 0..0.5, got {self}")


@dataclass(frozen=True)
class DepthFaults:
    """How depth is made as bad as that of real cameras.

    drop: how often all depth is unknown. holes: how often there are holes, which cover up to max_hole_share of the
    image. noise: how often there is noise, its standard deviation up to max_noise of the distance, and quantised in
    steps of up to max_step (1/m) times the distance squared. scale: factor of all distances 1 ± value.
    """

    drop: float = 0.05
    holes: float = 0.5
    max_hole_share: float = 0.35
    noise: float = 0.5
    max_noise: float = 0.02
    max_step: float = 0.005
    scale: float = 0.03

    def __post_init__(self) -> None:
        if not all(0 <= v <= 1 for v in (self.drop, self.holes, self.max_hole_share, self.noise)):
            raise ConfigurationError(f"drop, holes, max_hole_share and noise are 0..1, got {self}")
        if not 0 <= self.scale < 1 or self.max_noise < 0 or self.max_step < 0:
            raise ConfigurationError(f"scale is 0..1, max_noise and max_step are not below 0, got {self}")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the defaults are the published way for the full network from ImageNet weights.

    learning_rate is the highest: it is reached in warmup_epochs from warmup_factor of it, then falls to 0 with `power`.
    clip_norm: longest gradient, or None. scales: least and greatest size of the frame, in network inputs.
    balance_limits: class weights are held within. full_resolution_loss: of every pixel instead of a 16th of them.
    average_decay: of the moving average of the weights.
    Source: the training script of AsymFormer's authors, for optimiser, schedule, flip and colours; class weights, depth
    faults, scales and averaging are ours.
    Raises ConfigurationError where a value makes no sense.
    """

    epochs: int = 500
    batch_size: int = 8
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    warmup_epochs: float = 4.0
    warmup_factor: float = 1e-3
    power: float = 0.9
    clip_norm: float | None = None
    average_decay: float = 0.999
    balance_limits: tuple[float, float] = (0.3, 5.0)
    full_resolution_loss: bool = True
    scales: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    colour: Colour = Colour()
    depth: DepthFaults = DepthFaults()

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "power"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.weight_decay < 0 or self.warmup_epochs < 0 or not 0 <= self.average_decay < 1:
            raise ConfigurationError("weight_decay and warmup_epochs are not below 0, average_decay is 0..1")
        for name in ("scales", "balance_limits"):
            least, greatest = getattr(self, name)
            if not 0 < least <= greatest:
                raise ConfigurationError(f"{name} are a least and a greatest value above 0, got {getattr(self, name)}")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ConfigurationError(f"clip_norm must be above 0, or None, got {self.clip_norm}")


PUBLISHED = Recipe()
"""For the full network that starts from ImageNet weights."""

FROM_SCRATCH = Recipe(
    epochs=100,
    learning_rate=1e-3,
    weight_decay=0.05,
    warmup_epochs=0.5,
    clip_norm=1.0,
    full_resolution_loss=False,
    scales=(0.75, 1.5),
)
"""For the small network that starts from random weights."""
