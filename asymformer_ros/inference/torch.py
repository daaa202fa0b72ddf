"""PyTorch: FP32 on a CPU, FP16 on CUDA where that labels as FP32 does."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.engine.golden import golden_frames
from asymformer_ros.engine.verify import Answer, verify
from asymformer_ros.errors import BackendError, ConfigurationError
from asymformer_ros.frames.depth import Depth, depth_bytes
from asymformer_ros.inference.backend import Prediction, as_batch, plain_frame
from asymformer_ros.inference.choices import DEVICES
from asymformer_ros.inference.processing import classify_all
from asymformer_ros.inference.smoothing import TemporalSmoothing, smoothed
from asymformer_ros.models.card import ModelCard
from asymformer_ros.optional import importing
from asymformer_ros.system.limits import usable_cpus

with importing("torch", "the torch backend"):
    import torch

from asymformer_ros.inference.torch_gpu import Cuda, Gpu, GpuNetwork
from asymformer_ros.models.camera_network import CameraNetwork
from asymformer_ros.models.model import Model

_log = logging.getLogger(__name__)


_NAMES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


class TorchBackend:
    """Serves the bundle of a model with PyTorch.

    agreement: how its labels compare with FP32's, for people, where it computes in less; "" where that is not known.
    """

    def __init__(self, model: Model, device: torch.device, dtype: torch.dtype, gpu: Gpu | None = None) -> None:
        """model: with a bundle. gpu: of a device that is one, which then computes with channels last in memory."""
        assert model.bundle is not None  # `open_backend` refuses others, before they are read
        self.card: ModelCard = model.card
        self.model_sha256 = model.model_sha256
        self.agreement = ""
        self._device, self._dtype = device, dtype
        self._network = CameraNetwork(model.bundle).to(device, dtype).eval()
        self._gpu: GpuNetwork | None = None
        if gpu is not None:
            self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its stub
            self._gpu = GpuNetwork(self._network.forward_stride4, device, gpu)

    @classmethod
    def open(cls, model: Model, device: str, precision: str = "fp16") -> TorchBackend:
        """Serve a model on `device` (one of DEVICES), and run it once.

        model: with a bundle. precision: one of SERVED_PRECISIONS. A CPU computes in FP32. CUDA does for fp32; for bf16
        in BF16; else in FP16, where its labels of the golden frames are those of FP32.
        Raises BackendError where the device is not there, or is a CPU that is to compute in BF16.
        """
        chosen = choose_device(device)
        gpu = gpu_of(chosen)
        if gpu is None and precision == "bf16":
            raise BackendError(
                "precision is 'bf16' but PyTorch computes in fp32 on a CPU: with backend auto OpenVINO can"
            )
        with failing(f"torch {chosen}"):
            full = cls(model, chosen, torch.float32, gpu)
            if not full.is_finite():
                raise BackendError(
                    f"model '{model.path}' answers with NaN or infinity on {chosen}: its weights are damaged"
                )
            if gpu is None or precision == "fp32":
                return full
            half = cls(model, chosen, torch.bfloat16 if precision == "bf16" else torch.float16, gpu)
            return _compared(full, half, in_any_case=precision == "bf16")

    @property
    def name(self) -> str:
        """See InferenceBackend; "eager" where there should be a CUDA graph and is none."""
        eager = " eager" if self._gpu is not None and not self._gpu.records else ""
        return f"torch {self._device} {_NAMES[self._dtype]}{eager}"

    @property
    def device(self) -> str:
        """Where it runs: "cpu" or "cuda"."""
        return self._device.type

    def is_finite(self) -> bool:
        """Whether the logits of a plain test frame are all finite. Warms the network up, too."""
        ramp, depth = plain_frame(self.card.input_size)
        with torch.inference_mode():
            return bool(torch.isfinite(self.logits4(ramp[None], depth[None])).all())

    def infer(
        self,
        rgb: NDArray[np.uint8],
        depth: Depth,
        *,
        with_confidence: bool = False,
        smoothing: Sequence[TemporalSmoothing] = (),
    ) -> Prediction:
        """See InferenceBackend."""
        images, metres = as_batch(rgb, depth, self.card.input_size)
        with failing(self.name), torch.inference_mode():
            logits = self.logits4(images, metres)
            if smoothing:
                scores = smoothed(logits.cpu().numpy(), images, metres, smoothing)
                logits = torch.from_numpy(np.stack(list(scores))).to(self._device)
            prediction = self._classify(logits, with_confidence)
        return prediction.first() if rgb.ndim == 3 else prediction

    def close(self) -> None:
        """See InferenceBackend."""
        del self._network
        self._gpu = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def logits4(self, rgb: NDArray[np.uint8], depth: Depth) -> torch.Tensor:
        """(N, classes, h/4, w/4) class scores of rgb (N, h, w, 3) and depth (N, h, w), at any multiple of 32."""
        images = rgb, depth_bytes(depth)
        if self._gpu is not None:
            return self._gpu.logits(*images)
        return self._network.forward_stride4(*(torch.from_numpy(image) for image in images))

    def _classify(self, logits: torch.Tensor, with_confidence: bool) -> Prediction:
        if self._gpu is not None:
            return self._gpu.classify(logits, self.card.temperature, with_confidence=with_confidence)
        return classify_all(logits.numpy(), self.card, with_confidence=with_confidence)

    @torch.inference_mode()
    def answer(self, rgb: NDArray[np.uint8], depth: Depth) -> Answer:
        """Of one frame, with the class scores, which tell of an overflow."""
        logits = self.logits4(rgb[None], depth[None])
        return Answer(self._classify(logits, with_confidence=False).labels[0], logits.cpu().numpy())


def _compared(full: TorchBackend, half: TorchBackend, *, in_any_case: bool) -> TorchBackend:
    """The one in lower precision where its class scores are finite and its labels of the golden frames those of FP32.

    in_any_case: labels that differ are a warning alone. The other one is closed.
    """
    frames = golden_frames(full.card.input_size)
    compared = verify([full.answer(*frame) for frame in frames], [half.answer(*frame) for frame in frames])
    half.agreement = compared.told("simulated frames")
    serves, other = (half, full) if compared.passed or (in_any_case and compared.finite) else (full, half)
    level = logging.INFO if compared.passed else logging.WARNING
    _log.log(level, "%s: %s; %s serves", half.name, compared.problem or half.agreement, serves.name)
    other.close()
    return serves


@contextmanager
def failing(name: str) -> Iterator[None]:
    """PyTorch's own error, out of memory and lost devices among them, is a BackendError of what is named."""
    try:
        yield
    except RuntimeError as error:
        raise BackendError(f"{name} failed: {str(error).splitlines()[0]}") from error


def gpu_of(device: torch.device) -> Gpu | None:
    """What runs networks on a CUDA device, in FP32 where that is asked for and not in TF32; None for a CPU."""
    if device.type == "cpu":
        return None
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return Cuda()


def choose_device(device: str) -> torch.device:
    """Turn one of DEVICES into a device that is there; a CPU with as many threads as this process has CPUs.

    Raises BackendError for CUDA where it is not.
    """
    if device not in DEVICES:
        raise ConfigurationError(f"device is '{device}': expected one of {', '.join(DEVICES)}")
    torch.set_num_threads(min(torch.get_num_threads(), usable_cpus()))
    if device == "cpu":
        return torch.device("cpu")
    reason = why_no_cuda()
    if not reason:
        return torch.device("cuda")
    if device == "cuda":
        raise BackendError(f"device is 'cuda' but no CUDA device can be used: {reason}")
    _log.warning("no CUDA device: %s; PyTorch runs on the CPU", reason)
    return torch.device("cpu")


def why_no_cuda() -> str:
    """Why PyTorch cannot use CUDA here, in a sentence's part; "" where it can."""
    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None:
        return f"this PyTorch ({torch.__version__}) is built without CUDA"
    return f"PyTorch {torch.__version__} (CUDA {torch.version.cuda}) finds no usable NVIDIA driver or GPU"
