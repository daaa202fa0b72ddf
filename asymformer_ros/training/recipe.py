"""The numbers of a training: optimiser, schedule, loss and augmentation."""

from __future__ import annotations

from dataclasses import dataclass

from asymformer_ros.errors import ConfigurationError

STRIDE = 4
"""Of the network's logits, before their last upsampling."""


@dataclass(frozen=True)
class Colour:
    """How far colours are changed: factors of brightness, contrast and saturation 1 ± value, hue by ± turns.

    gamma: exponent of e to the ± value. tint, blur, noise, jpeg: how often the light is coloured, the image out of
    focus, noisy, or compressed.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    gamma: float = 0.0
    tint: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    jpeg: float = 0.0

    def __post_init__(self) -> None:
        if not all(0 <= v < 1 for v in (self.brightness, self.contrast, self.saturation)) or not 0 <= self.hue <= 0.5:
            raise ConfigurationError(f"brightness, contrast, saturation are 0..1 and hue is 0..0.5, got {self}")
        if not all(0 <= v <= 1 for v in (self.gamma, self.tint, self.blur, self.noise, self.jpeg)):
            raise ConfigurationError(f"gamma, tint, blur, noise and jpeg are 0..1, got {self}")


@dataclass(frozen=True)
class DepthFaults:
    """How depth is made as bad as that of real cameras.

    drop: how often all depth is unknown. holes: how often there are holes, which cover up to max_hole_share of the
    image. noise: how often there is noise, its standard deviation up to max_noise of the distance, and quantised in
    steps of up to max_step (1/m) times the distance squared. scale: factor of all distances 1 ± value. dither: how
    often the steps of 39 mm are smoothed that depth has which was stored in 8 bits, as NYUv2's often was.
    sensor_holes: how often a structured-light camera's holes are added: shadows beside edges, slanted and dark
    surfaces, too near, too far, one side.
    """

    drop: float = 0.05
    holes: float = 0.5
    max_hole_share: float = 0.35
    noise: float = 0.5
    max_noise: float = 0.02
    max_step: float = 0.005
    scale: float = 0.03
    dither: float = 0.0
    sensor_holes: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.drop, self.holes, self.max_hole_share, self.noise, self.dither, self.sensor_holes)
        if not all(0 <= v <= 1 for v in shares):
            raise ConfigurationError(
                f"drop, holes, max_hole_share, noise, dither and sensor_holes are 0..1, got {self}"
            )
        if not 0 <= self.scale < 1 or self.max_noise < 0 or self.max_step < 0:
            raise ConfigurationError(f"scale is 0..1, max_noise and max_step are not below 0, got {self}")


@dataclass(frozen=True)
class RgbBranch:
    """How an RGB branch that starts from ImageNet weights is kept from forgetting them.

    rate: of the learning rate. frozen_epochs: at the beginning, in which it stays as it is. frozen_stages: of its four,
    from the first, that always do. fixed_statistics: batch normalisation's stay the initial ones. drop_path: how often
    the last residual block is left out, the others linearly less (EfficientNet-Lite only). auxiliary: weight of the
    loss of two more classifiers, on its own last two stages, that help it to learn and are then left out.
    """

    rate: float = 1.0
    frozen_epochs: float = 0.0
    frozen_stages: int = 0
    fixed_statistics: bool = False
    drop_path: float = 0.0
    auxiliary: float = 0.0

    def __post_init__(self) -> None:
        if min(self.rate, self.frozen_epochs) < 0 or not 0 <= self.frozen_stages <= 4:
            raise ConfigurationError(f"rate and frozen_epochs are not below 0, frozen_stages is 0..4, got {self}")
        if not 0 <= self.drop_path < 1 or self.auxiliary < 0:
            raise ConfigurationError(f"drop_path is 0..1 and auxiliary not below 0, got {self}")


@dataclass(frozen=True)
class Teacher:
    """How much is learnt from a teacher: a network that sees each view before its colours and depth are changed.

    weight: of the loss of its soft labels; 0: there is no teacher. temperature: its class scores are divided by that.
    shift: pixels, a multiple of 4, that the student's view may lie beside the teacher's, down and across.
    """

    weight: float = 0.0
    temperature: float = 1.0
    shift: int = 0

    def __post_init__(self) -> None:
        if self.weight < 0 or not self.temperature > 0 or self.shift < 0 or self.shift % STRIDE:
            raise ConfigurationError(
                f"a teacher's weight is not below 0, its temperature above 0, its shift a multiple of 4, got {self}"
            )


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the defaults are the published way for the full network from ImageNet weights.

    learning_rate is the highest: it is reached in warmup_epochs from warmup_factor of it, held for the share `hold` of
    the other steps, then falls to 0 with `power`. clip_norm: longest gradient, or None. scales: least and greatest size
    of the frame, in network inputs; aspect: its proportions change by e to the ± value; turn: standard deviation, in
    degrees; border: pixels at each side that carry no image, cut off mostly. crop: (height, width) of the views that
    are trained on, None: the network's input size. balance_power: of the class weights, which are then held within
    balance_limits. full_resolution_loss: of every pixel instead of a 16th of them. average_decay: of the moving average
    of the weights. depth_rate: of the learning rate, for the depth branch. share: of each batch that comes from the
    last of several data sets; None: all their frames are alike. accumulate: a batch is learnt from in that many parts,
    one after the other, so that less of it is in memory at once; batch normalisation sees a part at a time.
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
    hold: float = 0.0
    power: float = 0.9
    clip_norm: float | None = None
    average_decay: float = 0.999
    balance_power: float = 1.0
    balance_limits: tuple[float, float] = (0.3, 5.0)
    full_resolution_loss: bool = True
    scales: tuple[float, float] = (0.5, 2.0)
    aspect: float = 0.0
    turn: float = 0.0
    flip: float = 0.5
    border: int = 0
    crop: tuple[int, int] | None = None
    colour: Colour = Colour()
    depth: DepthFaults = DepthFaults()
    rgb_branch: RgbBranch = RgbBranch()
    depth_rate: float = 1.0
    share: float | None = None
    accumulate: int = 1
    teacher: Teacher = Teacher()

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "learning_rate", "power"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.weight_decay < 0 or self.warmup_epochs < 0 or not 0 <= self.average_decay < 1:
            raise ConfigurationError("weight_decay and warmup_epochs are not below 0, average_decay is 0..1")
        for name in ("scales", "balance_limits"):
            least, greatest = getattr(self, name)
            if not 0 < least <= greatest:
                raise ConfigurationError(f"{name} are a least and a greatest value above 0, got {getattr(self, name)}")
        if not 0 <= self.hold <= 1 or min(self.aspect, self.turn, self.border, self.depth_rate, self.balance_power) < 0:
            raise ConfigurationError(
                "hold is 0..1; aspect, turn, border, depth_rate and balance_power are not below 0: "
                f"got {self.hold}; {self.aspect}, {self.turn}, {self.border}, {self.depth_rate}, {self.balance_power}"
            )
        if self.crop is not None and (min(self.crop) < 32 or self.crop[0] % 32 or self.crop[1] % 32):
            raise ConfigurationError(f"crop must be multiples of 32, got {self.crop[0]}x{self.crop[1]}")
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

ROOMS = Recipe(
    epochs=60,
    learning_rate=1e-3,
    weight_decay=0.03,
    warmup_epochs=3.5,
    hold=0.7,
    power=1.0,
    clip_norm=5.0,
    average_decay=0.998,
    balance_power=0.35,
    balance_limits=(0.5, 3.0),
    full_resolution_loss=False,
    scales=(0.55, 1.9),
    aspect=0.1,
    turn=2.5,
    border=9,
    crop=(256, 320),
    colour=Colour(hue=0.05, gamma=0.25, tint=0.3, blur=0.25, noise=0.5, jpeg=0.3),
    depth=DepthFaults(
        drop=0.12, holes=0.3, max_hole_share=0.3, max_noise=0.015, scale=0.04, dither=0.6, sensor_holes=0.65
    ),
    rgb_branch=RgbBranch(rate=0.25, frozen_stages=1, fixed_statistics=True, drop_path=0.1, auxiliary=0.2),
    teacher=Teacher(weight=1.0, temperature=0.8, shift=16),
)
"""For the network `rooms`, its RGB branch from ImageNet weights, on the 795 training frames of NYUv2."""
