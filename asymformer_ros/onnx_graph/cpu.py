"""The same function in the form that ONNX Runtime computes fastest on a CPU; answers differ by rounding only.

* Attention becomes ONNX Runtime's own operator, which never holds the scores of a whole map (`fuse_attention`).
* The linear layers of ConvNeXt's blocks and of Mix-FFN become 1x1 convolutions: all of a block but the norm stays in
  the blocked layout of ONNX Runtime's convolutions (`cpu_blocks`).
* Images are normalised channel by channel, what the fusion selects (LAFS) is computed in tokens, as attention wants
  them, and the decoder's maps stay channels-last between its linear layers (`cpu_maps`).
"""

from __future__ import annotations

from onnx import ModelProto, helper

from asymformer_ros.onnx_graph.attention import CONTRIB, fuse_attention
from asymformer_ros.onnx_graph.cpu_blocks import convolve_blocks, convolve_feed_forward
from asymformer_ros.onnx_graph.cpu_maps import decode_channels_last, normalise_channels_first, select_in_tokens
from asymformer_ros.onnx_graph.editing import GraphEditor

_REWRITES = {
    "input": normalise_channels_first,
    "attention": fuse_attention,
    "blocks": convolve_blocks,
    "feed_forward": convolve_feed_forward,
    "selection": select_in_tokens,
    "decoder": decode_channels_last,
}

REWRITES = tuple(_REWRITES)

BESIDE_LINEARS = ("input", "attention", "selection", "decoder")
"""Those that leave linear layers what they are, so that they can be quantised."""


def for_cpu(model: ModelProto, rewrites: tuple[str, ...] = REWRITES) -> ModelProto:
    """A copy of a graph for ONNX Runtime alone. What is written in another way than our network stays as it is.

    model: as `simplify` makes it. rewrites: those of REWRITES to make, each of which may be left out.
    """
    editor = GraphEditor(model)
    if editor.is_shaped:
        for name in rewrites:
            _REWRITES[name](editor)
    rewritten = editor.finish()
    if not is_for_cpu(rewritten):
        rewritten.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    return rewritten


def is_for_cpu(model: ModelProto) -> bool:
    """Whether `for_cpu` has made a graph."""
    return any(entry.domain == CONTRIB for entry in model.opset_import)
