"""PyTorch: FP32 on a CPU, FP16 on CUDA."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from asymformer_ros.errors import BackendError, ConfigurationError
from asymformer_ros.inference.backend import DEVICES, Prediction, as_batch, plain_frame
from asymformer_ros.models.card import ModelCard
from asymformer_ros.optional import importing

with importing("torch", "the torch backend"):
    import torch
    from torch.nn import functional

from asymformer_ros.models.bundle import ModelBundle
from asymformer_ros.models.model import Model
from asymformer_ros.network.deploy import fold

_log = logging.getLogger(__name__)


class TorchBackend:
    """Serves a ModelBundle with PyTorch."""

    def __init__(self, bundle: ModelBundle, device: torch.device, dtype: torch.dtype) -> None:
        self.card: ModelCard = bundle.card
        self.name = f"torch {device} {'fp16' if dtype == torch.float16 else 'fp32'}"
        self._device, self._dtype = device, dtype
        self._network = fold(bundle.network).to(device, dtype)
        norm = bundle.card.normalization
        self._rgb_mean = self._constant(norm.rgb_mean).view(1, 3, 1, 1) * 255
        self._rgb_scale = 1 / (self._constant(norm.rgb_std).view(1, 3, 1, 1) * 255)
        self._depth_mean, self._depth_scale = norm.depth_mean, 1 / norm.depth_std

    @classmethod
    def open(cls, model: Model, device: str) -> TorchBackend:
        """Serve a model on `device` (one of DEVICES), run it once, and fall back from FP16 to FP32 where it overflows.

        Raises BackendError where the device is not there, or the model is an ONNX file.
        """
        if model.bundle is None:
            raise BackendError(
                f"backend is 'torch' but model '{model.path}' is an ONNX file: set backend to onnxruntime or auto, or "
                "give the bundle that it was exported from"
            )
        chosen = choose_device(device)
        precisions = [torch.float16, torch.float32] if chosen.type == "cuda" else [torch.float32]
        for dtype in precisions:
            backend = cls(model.bundle, chosen, dtype)
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
            return bool(torch.isfinite(self._logits(ramp[None], depth[None])).all())

    def infer(self, rgb: NDArray[np.uint8], depth: NDArray[np.float32], *, with_confidence: bool = False) -> Prediction:
        """See InferenceBackend."""
        images, metres = as_batch(rgb, depth, self.card.input_size)
        try:
            with torch.inference_mode():
                prediction = self._classify(self._logits(images, metres), with_confidence)
        except RuntimeError as error:  # PyTorch's own, out of memory and lost devices among them
            raise BackendError(f"{self.name} failed: {str(error).splitlines()[0]}") from error
        return prediction.first() if rgb.ndim == 3 else prediction

    def close(self) -> None:
        """See InferenceBackend."""
        del self._network
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _constant(self, values: tuple[float, ...]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self._device)

    def _logits(self, rgb: NDArray[np.uint8], depth: NDArray[np.float32]) -> torch.Tensor:
        """(N, classes, h/4, w/4) logits of N images."""
        colour = torch.from_numpy(rgb).to(self._device).permute(0, 3, 1, 2).float()  # (N, 3, h, w), channels last
        metres = torch.from_numpy(depth).to(self._device)[:, None].nan_to_num(0.0)  # 0 m: unknown in training, too
        colour = (colour - self._rgb_mean).mul_(self._rgb_scale)
        metres = metres.sub_(self._depth_mean).mul_(self._depth_scale)
        return self._network.forward_stride4(colour.to(self._dtype), metres.to(self._dtype))

    def _classify(self, logits: torch.Tensor, with_confidence: bool) -> Prediction:
        """The best class of each pixel of the x4 bilinear upsampling; the softmax only where it is asked for."""
        upsampled = functional.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
        best, index = upsampled.max(dim=1)
        labels = index.to(torch.uint8).cpu().numpy()
        if not with_confidence:
            return Prediction(labels, None)
        share = (upsampled - best[:, None]).float().exp_().sum(dim=1).reciprocal_()
        return Prediction(labels, share.mul_(255).round_().to(torch.uint8).cpu().numpy())


def choose_device(device: str) -> torch.device:
    """Turn one of DEVICES into a device that is there. Raises BackendError for CUDA where it is not."""
    if device not in DEVICES:
        raise ConfigurationError(f"device is '{device}': expected one of {', '.join(DEVICES)}")
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
