"""A traced TensorFlow function → ONNX, with the contract inside and the same bytes every time.

The function is frozen and handed to tf2onnx as a graph. A detour over a SavedModel on disk gives the same
nodes and costs another 10 s for EfficientNet-B4; the fault of `tf2onnx.convert.from_function` (constants
that layers hold as tensors become inputs) does not occur, because freezing has made them constants.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Any

from pipelines.export.canonical import canonical
from pipelines.export.flip_average import add_mirrors
from serving.contract.model import IMAGE, METADATA_KEY, ModelContract

# The passes of tf2onnx that change these graphs. Each copies all weights: with the other seven, EfficientNet-
# B4 takes three times as long and comes out as the same nodes.
_PASSES = (
    "optimize_transpose",
    "fold_constants",
    "merge_duplication",
    "remove_identity",
    "remove_back_to_back",
)


def to_onnx(function: Any, contract: ModelContract, *, opset: int) -> Any:
    """Convert a concrete function into an ONNX model.

    Args:
        function: takes `image`, returns a dictionary of the contract's outputs.
        contract: written into the metadata; with `flip_average` mirror images are added to the batch that
            `function` is given.
        opset: ONNX operator set.

    Returns:
        onnx.ModelProto with open first axis `batch`; equal functions give equal bytes.

    Raises:
        Exception: TensorFlow's and tf2onnx's own exceptions for an operation they cannot convert.
    """
    graph, names = _frozen(function)
    converted = _converted(graph, names, opset=opset)
    if contract.flip_average:
        add_mirrors(converted)
    model = canonical(converted)
    model.metadata_props.add(key=METADATA_KEY, value=contract.to_json())
    return model


def _frozen(function: Any) -> tuple[Any, dict[str, str]]:
    """Graph with variables as constants, and its output tensors → their names in the contract."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
    from tf2onnx.tf_loader import tf_optimize

    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False, aggressive_inlining=True)
    # TensorFlow flattens a dictionary in the order of its sorted keys.
    keys = sorted(function.structured_outputs)
    names = {tensor.name: key for tensor, key in zip(frozen.outputs, keys, strict=True)}
    with tf.Graph().as_default():
        definition = frozen.graph.as_graph_def(add_shapes=True)
        return tf_optimize([f"{IMAGE}:0"], list(names), definition), names


def _converted(definition: Any, names: dict[str, str], *, opset: int) -> Any:
    """tf2onnx's model of a frozen graph, inputs and outputs named by the contract."""
    import tensorflow as tf
    from tf2onnx import optimizer, tfonnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    source = f"{IMAGE}:0"
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
    with tf.compat.v1.Session(graph=graph):
        converted = tfonnx.process_tf_graph(
            graph,
            input_names=[source],
            output_names=list(names),
            opset=opset,
            tensors_to_rename={source: IMAGE, **names},
            custom_op_handlers={"Erfc": (_erfc, [])},
        )
    passes = optimizer._get_optimizers()
    chosen = OrderedDict((name, passes[name]) for name in _PASSES)
    return optimizer.optimize_graph(converted, catch_errors=False, optimizers=chosen).make_model("mien")


def _erfc(context: Any, node: Any, name: str, args: Any) -> None:
    """TensorFlow's exact GELU uses erfc(x), which ONNX lacks: 1 − erf(x)."""
    one = context.make_const(f"{name}_one", _float_one())
    node.type = "Erf"
    below = node.output[0]
    difference = context.insert_new_node_on_output("Sub", below, name=f"{name}_complement")
    context.replace_inputs(difference, [one.output[0], below])


def _float_one() -> Any:
    import numpy as np

    return np.array(1, np.float32)
