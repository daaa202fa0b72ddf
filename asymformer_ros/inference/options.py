"""What is asked of the serving of a model."""

from __future__ import annotations

from dataclasses import dataclass

from asymformer_ros.engine.choices import PRECISIONS
from asymformer_ros.errors import ConfigurationError
from asymformer_ros.inference.choices import BACKENDS, DEVICES, SERVED_PRECISIONS
from asymformer_ros.models.sizes import check_size


@dataclass(frozen=True)
class ServingOptions:
    """How a model is to be served. Raises ConfigurationError where a value makes no sense.

    backend: one of BACKENDS. device: of PyTorch, one of DEVICES. label_set: see `open_model`. batch: images that come
    together. precision: one of SERVED_PRECISIONS, what is computed in. An engine is tried in it first, in fp16 for
    auto. PyTorch on CUDA computes in FP16, and in FP32 where the golden frames' labels are not FP32's; in BF16 and FP32
    where that is asked for. A CPU computes in bf16 or int8 where that is asked for, and for auto where the frames that
    come allow it, else in FP32.
    precision_report: JSON of `asymformer precision`, "" for none. engine_cache: folder, "" for the default.
    workspace_mib: scratch memory of the engine, 0 for the builder's own choice. wait: whether "auto" waits for the
    engine instead of serving meanwhile. input_size: (height, width) in place of the model's own, which a bundle or a
    checkpoint can have.
    """

    backend: str = "auto"
    device: str = "auto"
    label_set: str = ""
    batch: int = 1
    precision: str = "fp16"
    precision_report: str = ""
    engine_cache: str = ""
    workspace_mib: int = 0
    wait: bool = False
    input_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("backend", BACKENDS), ("device", DEVICES), ("precision", SERVED_PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise ConfigurationError(f"{name} is '{getattr(self, name)}': expected one of {', '.join(allowed)}")
        if self.input_size:
            check_size(self.input_size)
        foreign = {
            "int8": self.backend in ("torch", "tensorrt") or self.device == "cuda",
            "bf16": self.backend == "tensorrt" or (self.backend == "onnxruntime" and self.device == "cuda"),
        }
        if foreign.get(self.precision):
            raise ConfigurationError(
                f"precision is '{self.precision}', in which nothing computes with backend '{self.backend}' and device "
                f"'{self.device}': leave both at auto, or take fp16"
            )

    @property
    def engine_precision(self) -> str:
        """That an engine is tried in first: one of PRECISIONS."""
        return self.precision if self.precision in PRECISIONS else PRECISIONS[0]
