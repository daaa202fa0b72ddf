"""ImageNet weights of the branches, in the layouts that they are published in, to the keys of `AsymFormer`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import accumulate

from torch import Tensor

from asymformer_ros.errors import CheckpointError
from asymformer_ros.network.published import MIX_TRANSFORMER_BLOCK

_Rules = tuple[tuple[str, str], ...]

_HEADS = re.compile(r"^(norm|head|head\.norm|head\.fc)\.(weight|bias)$")
"""Of the classification that the branches do without: ConvNeXt's last norm and head, SegFormer's head."""

_CONVNEXT: _Rules = (
    # Facebook's releases
    (r"^downsample_layers\.(\d)\.", r"stages.\1.rgb.downsample."),
    (r"^stages\.(\d)\.(\d+)\.", r"stages.\1.rgb.blocks.\2."),
    # timm
    (r"^stem\.", r"stages.0.rgb.downsample."),
    (r"^stages\.(\d)\.downsample\.", r"stages.\1.rgb.downsample."),
    (r"^stages\.(\d)\.blocks\.", r"stages.\1.rgb.blocks."),
    # both
    (r"\.(dwconv|conv_dw)\.", r".depthwise."),
    (r"\.(pwconv1|mlp\.fc1)\.", r".expand."),
    (r"\.(pwconv2|mlp\.fc2)\.", r".project."),
    (r"\.gamma$", r".scale.gamma"),
)

_MIX_TRANSFORMER: _Rules = (
    (r"^patch_embed(\d)\.proj\.", r"stages.\1.depth.embed.conv."),
    (r"^patch_embed(\d)\.norm\.", r"stages.\1.depth.embed.norm."),
    (r"^block(\d)\.", r"stages.\1.depth.blocks."),
    (r"^norm(\d)\.", r"stages.\1.depth.norm."),
    *MIX_TRANSFORMER_BLOCK,
)

_EFFICIENTNET_HEAD = re.compile(r"^(_conv_head|_bn1|_fc)\.")

_EFFICIENTNET: _Rules = (
    (r"\._depthwise_conv\.", r".depthwise.conv."),
    (r"\._bn1\.", r".depthwise.norm."),
    (r"\._project_conv\.", r".project.conv."),
    (r"\._bn2\.", r".project.norm."),
    (r"\._expand_conv\.", r".expand.conv."),
    (r"\._bn0\.", r".expand.norm."),
    (r"^_conv_stem\.", r"stages.0.rgb.stem.conv."),
    (r"^_bn0\.", r"stages.0.rgb.stem.norm."),
)
"""The package efficientnet-lite-pytorch, once the numbers of the blocks are those of stages."""

_FIRST_DEPTH_KERNEL = "stages.0.depth.embed.conv.weight"


def translate_convnext(state: Mapping[str, object]) -> dict[str, Tensor]:
    """ConvNeXt in the layout of Facebook's releases or of timm to the RGB branch's part of a state dict.

    Keys that are neither's pass as they are, for the caller to name.
    Raises CheckpointError for a value that is no tensor.
    """
    return _translate(state, _CONVNEXT)


def translate_efficientnet(state: Mapping[str, object], blocks: tuple[int, ...]) -> dict[str, Tensor]:
    """EfficientNet-Lite as the package efficientnet-lite-pytorch has it to the RGB branch's part of a state dict.

    blocks: of each of the four stages. Keys that are not its own pass as they are, for the caller to name.
    Raises CheckpointError for a value that is no tensor.
    """
    ends = list(accumulate(blocks))

    def renumber(match: re.Match[str]) -> str:
        number = int(match[1])
        stage = next((index for index, end in enumerate(ends) if number < end), len(ends) - 1)
        return f"stages.{stage}.rgb.blocks.{number - ends[stage] + blocks[stage]}."

    kept = {key: value for key, value in state.items() if not _EFFICIENTNET_HEAD.match(key)}
    return _translate({re.sub(r"^_blocks\.(\d+)\.", renumber, key): v for key, v in kept.items()}, _EFFICIENTNET)


def translate_mix_transformer(state: Mapping[str, object]) -> dict[str, Tensor]:
    """Mix Transformer in SegFormer's layout to the depth branch's part of a state dict.

    The first kernel's three colour channels are summed to one: so depth does what a grey picture of it would do.
    Keys that are not SegFormer's pass as they are, for the caller to name. Raises CheckpointError for a value that is
    no tensor.
    """
    translated = _translate(state, _MIX_TRANSFORMER)
    translated = {
        re.sub(r"^stages\.(\d)\.", lambda match: f"stages.{int(match[1]) - 1}.", key): value
        for key, value in translated.items()
    }
    if _FIRST_DEPTH_KERNEL in translated:
        translated[_FIRST_DEPTH_KERNEL] = translated[_FIRST_DEPTH_KERNEL].sum(dim=1, keepdim=True)
    return translated


def _translate(state: Mapping[str, object], rules: _Rules) -> dict[str, Tensor]:
    translated: dict[str, Tensor] = {}
    for published, value in state.items():
        if _HEADS.match(published):
            continue
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{published} is a {type(value).__name__}, expected a tensor")
        key = published
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        translated[key] = value
    return translated
