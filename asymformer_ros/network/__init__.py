"""The AsymFormer network and the weights files that fill it."""

from asymformer_ros.network.asymformer import CONFIGS, FULL, ROOMS, SMALL, AsymFormer, AsymFormerConfig
from asymformer_ros.network.checkpoint import load_checkpoint

__all__ = ["CONFIGS", "FULL", "ROOMS", "SMALL", "AsymFormer", "AsymFormerConfig", "load_checkpoint"]
