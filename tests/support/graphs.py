"""Small float32 ONNX graphs by hand, run as they are: for what rewrites and quantises graphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Node = tuple[str, Sequence[str], str, dict[str, Any]]
"""Operator, inputs, output, attributes."""

Shape = Sequence[int | str]
"""Length of each axis; a name where it is open."""


def build(
    nodes: Sequence[Node],
    *,
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
    weights: Mapping[str, Any],
) -> onnx.ModelProto:
    """A checked model; `image` is uint8, every other input float32."""
    graph = helper.make_graph(
        [
            helper.make_node(operator, list(reads), [makes], name=f"{operator}-{makes}", **attributes)
            for operator, reads, makes, attributes in nodes
        ],
        "tests",
        [
            helper.make_tensor_value_info(
                name, TensorProto.UINT8 if name == "image" else TensorProto.FLOAT, shape
            )
            for name, shape in inputs.items()
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: onnx.ModelProto, **inputs: np.ndarray) -> list[np.ndarray]:
    """Its outputs in ONNX Runtime, one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def live_operators(model: onnx.ModelProto) -> Counter[str]:
    """How many nodes of each operator still have a part in an output."""
    maker = {name: node for node in model.graph.node for name in node.output}
    waiting, seen = [output.name for output in model.graph.output], {}
    while waiting:
        node = maker.get(waiting.pop())
        if node is not None and node.name not in seen:
            seen[node.name] = node.op_type
            waiting += node.input
    return Counter(seen.values())
