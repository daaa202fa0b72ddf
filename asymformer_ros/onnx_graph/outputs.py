"""What a segmentation graph gives: labels and confidence, or class scores; each is cut out of the other."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from asymformer_ros.errors import CheckpointError
from asymformer_ros.onnx_graph.names import LABEL_OUTPUTS, LOGITS_OUTPUT
from asymformer_ros.optional import importing

with importing("onnx", "an ONNX model"):
    import onnx
    from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

    from asymformer_ros.onnx_graph.simplify import tensor_shapes

_CLASSIFY = "/classify/"


def give_logits4(model: ModelProto) -> ModelProto:
    """The graph without its last resize and all that follows: float32 class scores (N, C, h, w), called "logits".

    Of our network they are at stride 4; where a graph does not end in a bilinear resize they have the size that it
    gives. Raises CheckpointError for a graph of labels in which no scores are found.
    """
    resize = _last_resize(model)
    name = resize.input[0] if resize is not None else _only_output(model)
    cut = _ending_in(model, name)
    shape = tensor_shapes(model.graph)[name]
    if cut.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT:
        _rename_result(cut, name)
    else:
        cut.graph.node.append(
            helper.make_node("Cast", [name], [LOGITS_OUTPUT], name="logits_cast", to=TensorProto.FLOAT)
        )
    cut.graph.output[0].CopyFrom(helper.make_tensor_value_info(LOGITS_OUTPUT, TensorProto.FLOAT, shape))
    return cut


def give_labels(model: ModelProto, temperature: float = 1.0) -> ModelProto:
    """The graph with labels and confidence (N, H, W) uint8 for outputs, in a form that TensorRT computes fast.

    The label is the first class of the largest score, without ArgMax, of which TensorRT makes a TopK over all scores;
    the confidence is the softmax maximum, of scores divided by the temperature, times 255. Raises CheckpointError as
    `give_logits4` does.
    """
    resize = _last_resize(model)
    name = resize.output[0] if resize is not None else _only_output(model)
    cut = _ending_in(model, name)
    images, classes, *size = tensor_shapes(model.graph)[name]
    constants = {
        "classes": np.arange(classes, dtype=np.float32).reshape(1, classes, 1, 1),
        "last": np.array(classes - 1, np.float32),  # where rounding makes the maximum none of the scores
        "axis": np.array([1], np.int64),
        "full": np.array(255, np.float32),
        **({} if temperature == 1 else {"cooler": np.array(1 / temperature, np.float32)}),
    }
    cut.graph.initializer.extend(numpy_helper.from_array(value, _CLASSIFY + key) for key, value in constants.items())
    cut.graph.node.extend(_classification(name, scaled="cooler" in constants))
    del cut.graph.output[:]
    cut.graph.output.extend(
        helper.make_tensor_value_info(output, TensorProto.UINT8, (images, *size)) for output in LABEL_OUTPUTS
    )
    return onnx.shape_inference.infer_shapes(cut, strict_mode=True, data_prop=True)


def keep_outputs(model: ModelProto, names: Collection[str]) -> ModelProto:
    """A graph with only those of another's outputs that are named, and what they need."""
    graph, needed, nodes = model.graph, set(names), []
    for node in reversed(graph.node):  # they are in topological order
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    kept = helper.make_model(
        helper.make_graph(
            nodes[::-1],
            graph.name,
            graph.input,
            [value for value in graph.output if value.name in names],
            [tensor for tensor in graph.initializer if tensor.name in needed],
            value_info=[value for value in graph.value_info if value.name in needed],
        ),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
    )
    kept.metadata_props.extend(model.metadata_props)
    return kept


def _classification(logits: str, *, scaled: bool) -> list[NodeProto]:
    nodes: list[NodeProto] = []

    def node(op: str, *inputs: str, output: str = "", **attributes: object) -> str:
        name = _CLASSIFY + op if not output else f"{_CLASSIFY}{output}"
        nodes.append(helper.make_node(op, inputs, [output or f"{name}_output_0"], name=name, **attributes))
        return nodes[-1].output[0]

    labels, confidence = LABEL_OUTPUTS
    best = node("ReduceMax", logits, axes=[1], keepdims=1)
    numbers = node("Where", node("Equal", logits, best), f"{_CLASSIFY}classes", f"{_CLASSIFY}last")
    first = node("ReduceMin", numbers, axes=[1], keepdims=0)
    node("Cast", first, output=labels, to=TensorProto.UINT8)
    below = node("Sub", logits, best)
    if scaled:
        below = node("Mul", below, f"{_CLASSIFY}cooler")
    total = node("ReduceSum", node("Exp", below), f"{_CLASSIFY}axis", keepdims=0)
    share = node("Round", node("Div", f"{_CLASSIFY}full", total))
    node("Cast", share, output=confidence, to=TensorProto.UINT8)
    return nodes


def _last_resize(model: ModelProto) -> NodeProto | None:
    """The bilinear resize that makes scores of full size, where nothing but classification stands behind it."""
    shapes, outputs = tensor_shapes(model.graph), {value.name for value in model.graph.output}
    size = shapes[model.graph.output[0].name][-2:]
    resizes = [node for node in model.graph.node if node.op_type == "Resize"]
    if not resizes or shapes[resizes[-1].output[0]][-2:] != size or not _is_bilinear(resizes[-1]):
        return None
    last = resizes[-1]
    cast = {node.input[0] for node in model.graph.node if node.op_type == "Cast" and node.output[0] in outputs}
    return last if outputs == set(LABEL_OUTPUTS) or last.output[0] in outputs | cast else None


def _is_bilinear(node: NodeProto) -> bool:
    attributes: dict[str, Any] = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    mode = attributes.get("coordinate_transformation_mode", b"half_pixel")
    return attributes.get("mode") == b"linear" and mode in (b"half_pixel", b"pytorch_half_pixel")


def _only_output(model: ModelProto) -> str:
    outputs = model.graph.output
    if len(outputs) != 1 or len(outputs[0].type.tensor_type.shape.dim) != 4:
        raise CheckpointError(
            f"the graph gives {', '.join(value.name for value in outputs)}, and there is no bilinear resize of class "
            "scores before them: export the model again"
        )
    return outputs[0].name


def _ending_in(model: ModelProto, name: str) -> ModelProto:
    """A copy whose one output is any of the tensors."""
    ending = keep_outputs(model, [name])
    values = (*model.graph.value_info, *model.graph.output)
    del ending.graph.output[:]
    ending.graph.output.append(next(value for value in values if value.name == name))
    return ending


def _rename_result(model: ModelProto, name: str) -> None:
    for node in model.graph.node:
        for index, output in enumerate(node.output):
            node.output[index] = LOGITS_OUTPUT if output == name else output
    kept = [value for value in model.graph.value_info if value.name != name]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
