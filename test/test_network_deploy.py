"""Folding changes what is computed, not what comes out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden import GOLDEN_FILE, published_state
from torch import nn

from asymformer_ros.network import ROOMS, SMALL, AsymFormer, AsymFormerConfig
from asymformer_ros.network.convnext import LayerScale
from asymformer_ros.network.deploy import fold
from asymformer_ros.network.published import translate_published


def test_the_folded_network_answers_as_the_published_one_does() -> None:
    golden = dict(np.load(GOLDEN_FILE))
    network = AsymFormer()
    network.load_state_dict(translate_published(published_state()))
    with torch.inference_mode():
        logits = fold(network)(torch.from_numpy(golden["rgb"]), torch.from_numpy(golden["depth"])).numpy()
    assert np.abs(logits - golden["logits"]).max() < 1e-4 * golden["logits"].std()


def trained_like(network: AsymFormer) -> AsymFormer:
    """Statistics and scales that are not their initial values."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.uniform_(0.3, 1.5, generator=generator)
    return network


@pytest.mark.parametrize(("config", "batch"), [(SMALL, 1), (SMALL, 2), (ROOMS, 1)])
def test_other_networks_fold_too(config: AsymFormerConfig, batch: int) -> None:
    network = trained_like(AsymFormer(config))
    rgb, depth = torch.randn(batch, 3, 64, 96), torch.randn(batch, 1, 64, 96)
    folded = fold(network)
    with torch.inference_mode():
        expected = network.eval().forward_stride4(rgb, depth)
        difference = (folded.forward_stride4(rgb, depth) - expected).abs().max()
    assert difference < 1e-4 * expected.std()


def test_folding_leaves_the_network_as_it_was() -> None:
    network = AsymFormer(SMALL).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fold(network)
    assert network.training
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("config", [SMALL, ROOMS])
def test_no_batch_normalisation_and_no_layer_scale_is_left(config: AsymFormerConfig) -> None:
    left = [name for name, m in fold(AsymFormer(config)).named_modules() if isinstance(m, nn.BatchNorm2d | LayerScale)]
    assert left == []
