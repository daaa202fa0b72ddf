"""PyTorch: FP32 on a CPU, FP16 on CUDA."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

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
    from torch.nn import functional

from asymformer_ros.models.camera_network import CameraNetwork
from asymformer_ros.models.model import Model

_log = logging.getLogger(__name__)


class TorchBackend:
    """Serves the bundle of a model with PyTorch."""

    def __init__(self, model: Model, device: torch.device, dtype: torch.dtype) -> None:
        """model: with a bundle."""
        assert model.bundle is not None  # `open_backend` refuses others, before they are read
        self.card: ModelCard = model.card
        self.model_sha256 = model.model_sha256
        self.name = f"torch {device} {'fp16' if dtype == torch.float16 else 'fp32'}"
        self._device, self._dtype = device, dtype
        self._network = CameraNetwork(model.bundle).to(device, dtype).eval()

    @classmethod
    def open(cls, model: Model, device: str) -> TorchBackend:
        """Serve a model on `device` (one of DEVICES), run it once, and fall back from FP16 to FP32 where it overflows.

        model: with a bundle. Raises BackendError where the device is not there.
        """
        chosen = choose_device(device)
        precisions = [torch.float16, torch.float32] if chosen.type == "cuda" else [torch.float32]
        for dtype in precisions:
            backend = cls(model, chosen, dtype)
            if backend.is_finite():
                return backend
            _log.warning("%s: the network's answer is not finite in this precision", backend.name)
        raise BackendError(f"model '{model.path}' answers with NaN or infinity on {chosen}: its weights are damaged")

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
        try:
            with torch.inference_mode():
                logits = self.logits4(images, metres)
                if smoothing:
                    scores = smoothed(logits.float().cpu().numpy(), images, metres, smoothing)
                    logits = torch.from_numpy(np.stack(list(scores))).to(self._device)
                prediction = self._classify(logits, with_confidence)
        except RuntimeError as error:  # PyTorch's own, out of memory and lost devices among them
            raise BackendError(f"{self.name} failed: {str(error).splitlines()[0]}") from error
        return prediction.first() if rgb.ndim == 3 else prediction

    def close(self) -> None:
        """See InferenceBackend."""
        del self._network
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def logits4(self, rgb: NDArray[np.uint8], depth: Depth) -> torch.Tensor:
        """(N, classes, h/4, w/4) class scores of rgb (N, h, w, 3) and depth (N, h, w), at any multiple of 32."""
        images = (torch.from_numpy(image).to(self._device) for image in (rgb, depth_bytes(depth)))
        return self._network.forward_stride4(*images)

    def _classify(self, logits: torch.Tensor, with_confidence: bool) -> Prediction:
        if self._device.type == "cuda":
            return self._classify_there(logits, with_confidence)
        return classify_all(logits.numpy(), self.card, with_confidence=with_confidence)

    def _classify_there(self, logits: torch.Tensor, with_confidence: bool) -> Prediction:
        """As `classify`, on the GPU."""
        upsampled = functional.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
        best, index = upsampled.max(dim=1)
        labels = index.to(torch.uint8).cpu().numpy()
        if not with_confidence:
            return Prediction(labels, None)
        scaled = (upsampled - best[:, None]).float().mul_(1 / self.card.temperature)
        share = scaled.exp_().sum(dim=1).reciprocal_()
        return Prediction(labels, share.mul_(255).round_().to(torch.uint8).cpu().numpy())


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
