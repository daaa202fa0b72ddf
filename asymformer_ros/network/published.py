"""Published checkpoints' keys and shapes to ours: a pure function of the state dict."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from asymformer_ros.errors import CheckpointError

CLASSIFIER_KEY = "Decoder.linear_pred.weight"
"""(classes, width, 1, 1): a state dict that has it is a published one, and it says the number of classes."""

_DROPPED = re.compile(r"(^|\.)_extra_state$|\.SCC\.(.*\.)?(inc|inc_squared|midc1|midc2)$")
_LINEAR = re.compile(r"(\.attention\.project|^decoder\.embed\.\d)\.weight$")

MIX_TRANSFORMER_BLOCK = (
    (r"\.norm1\.", r".attention_norm."),
    (r"\.norm2\.", r".feed_forward_norm."),
    (r"\.attn\.q\.", r".attention.query."),
    (r"\.attn\.kv\.", r".attention.key_value."),
    (r"\.attn\.proj\.", r".attention.project."),
    (r"\.attn\.sr\.", r".attention.reduce.conv."),
    (r"\.attn\.norm\.", r".attention.reduce.norm."),
    (r"\.mlp\.fc1\.", r".feed_forward.expand."),
    (r"\.mlp\.dwconv\.dwconv\.", r".feed_forward.depthwise."),
    (r"\.mlp\.fc2\.", r".feed_forward.project."),
)
"""Patterns and replacements for keys inside a block, as SegFormer named them and AsymFormer's checkpoints still do."""

_RENAMES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # first releases to the current layout
        (r"\.SCC\.conv1\.", r".SCC.conv_bn.0."),
        (r"\.SCC\.bn\.", r".SCC.conv_bn.1."),
        # RGB branch
        (r"\.rgb_stem\.", r".rgb.downsample."),
        (r"\.rgb_layer\.", r".rgb.blocks."),
        (r"\.rgb\.(.*)\.dwconv\.", r".rgb.\1.depthwise."),
        (r"\.gamma$", r".scale.gamma"),
        (r"\.pwconv1\.", r".expand."),
        (r"\.pwconv2\.", r".project."),
        # depth branch
        (r"\.depth_stem\.proj\.", r".depth.embed.conv."),
        (r"\.depth_stem\.norm\.", r".depth.embed.norm."),
        (r"\.depth_norm\.", r".depth.norm."),
        (r"\.depth_layer\.", r".depth.blocks."),
        *MIX_TRANSFORMER_BLOCK,
        # fusion
        (r"\.SCC\.fus_atten\.fc_spatial\.", r".fusion.select.spatial."),
        (r"\.SCC\.fus_atten\.fc_channel\.", r".fusion.select.channel."),
        (r"\.SCC\.conv_bn\.", r".fusion.reduce."),
        (r"\.SCC\.cross_atten\.", r".fusion.correlate."),
        (r"\.correlate\.bn_x1\.", r".correlate.depth_norm."),
        (r"\.correlate\.bn_x2\.", r".correlate.rgb_norm."),
        (r"\.correlate\.bn_last\.", r".correlate.norm."),
        (r"\.correlate\.kq1\.", r".correlate.depth_key_query."),
        (r"\.correlate\.kq2\.", r".correlate.rgb_key_query."),
        (r"\.correlate\.v_conv\.", r".correlate.value."),
        (r"\.correlate\.out_conv\.", r".correlate.project."),
        # decoder
        (r"^Decoder\.linear_fuse\.", r"decoder.fuse."),
        (r"^Decoder\.linear_pred\.", r"decoder.classify."),
    )
)


def translate_published(state: Mapping[str, object]) -> dict[str, Tensor]:
    """Published state dict, of any release, to the state dict of `AsymFormer`; no tensor is copied.

    Keys that are not the published network's pass as they are, so that strict loading names them.
    Raises CheckpointError where two keys mean the same tensor, or a value is no tensor.
    """
    translated: dict[str, Tensor] = {}
    for published, value in state.items():
        if _DROPPED.search(published):
            continue
        key = translate_key(published)
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{published} is a {type(value).__name__}, expected a tensor")
        if key in translated:
            raise CheckpointError(f"{published} is there twice, under the names of two releases")
        translated[key] = _as_linear(key, value)
    return translated


def translate_key(key: str) -> str:
    """Published key to the key of `AsymFormer`."""
    key = re.sub(r"^down_sample_([1-4])\.", lambda match: f"stages.{int(match[1]) - 1}.", key)
    key = re.sub(r"^Decoder\.linear_c([1-4])\.proj\.", lambda match: f"decoder.embed.{int(match[1]) - 1}.", key)
    for pattern, replacement in _RENAMES:
        key = pattern.sub(replacement, key)
    return key


def _as_linear(key: str, value: Tensor) -> Tensor:
    """Weights that releases hold as linear layer (out, in) or as 1x1 convolution (out, in, 1, 1), as the former."""
    if _LINEAR.search(key) and value.shape[2:] == (1, 1):
        return value.flatten(1)
    return value
