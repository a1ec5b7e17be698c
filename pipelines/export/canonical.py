"""Canonical form of a graph: order and names of nodes, tensors and weights depend on the graph alone.

Keras and tf2onnx number their names by what the process built before, and tf2onnx walks over sets, whose
order changes with every start of Python. It was also seen to leave more or fewer reshapes behind from one
start to the next (EfficientNet-B4: 64 or 65); those that change nothing are taken out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from serving.contract.model import NOVELTY, OUTPUTS


def canonical(model: Any) -> Any:
    """Rewrite a model without subgraphs in canonical form.

    Nodes stand in the order of a depth-first walk from the contract's outputs, are named after their
    operator and number, and so are the tensors they give; weights are numbered by their first use. The open
    first axis of every input and output is called `batch`.

    Args:
        model: onnx.ModelProto whose outputs bear the contract's names, `novelty` among them or not.

    Returns:
        A new onnx.ModelProto that computes the same.
    """
    import onnx

    source = _without_idle_reshapes(model).graph
    nodes = _in_order(source)
    names = _tensor_names(source, nodes)
    weights = {weight.name: weight for weight in source.initializer}
    used = dict.fromkeys(name for node in nodes for name in node.input if name in weights)
    outputs = {output.name: output for output in source.output}
    graph = onnx.GraphProto(name="mien")
    graph.node.extend(_renamed(node, names, index) for index, node in enumerate(nodes))
    for name in used:
        graph.initializer.add().CopyFrom(weights[name])
        graph.initializer[-1].name = names[name]
    graph.input.extend(_batched(source.input))
    graph.output.extend(_batched(outputs[name] for name in _outputs(source)))
    return onnx.ModelProto(
        ir_version=model.ir_version,
        opset_import=sorted(model.opset_import, key=lambda item: item.domain),
        producer_name="mien",
        graph=graph,
    )


def _without_idle_reshapes(model: Any) -> Any:
    """A copy without reshapes to the shape that a tensor already has."""
    import onnx

    copy = onnx.shape_inference.infer_shapes(model)
    graph = copy.graph
    known = {value.name: _rest(value) for value in graph.value_info}
    targets = {weight.name: weight for weight in graph.initializer}
    idle = {}
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in targets:
            first, *rest = onnx.numpy_helper.to_array(targets[node.input[1]]).tolist()
            # Where all other axes are as they were, the open one is too.
            if first == -1 and rest and rest == known.get(node.input[0]):
                idle[node.output[0]] = node.input[0]
    for node in graph.node:
        for position, name in enumerate(node.input):
            while name in idle:
                name = idle[name]
            node.input[position] = name
    return copy


def _outputs(graph: Any) -> tuple[str, ...]:
    """Names of the graph's outputs, in the contract's order."""
    return (*OUTPUTS, NOVELTY) if NOVELTY in {output.name for output in graph.output} else OUTPUTS


def _rest(value: Any) -> list[int]:
    """Sizes of all axes but the first, 0 for those that are open."""
    return [axis.dim_value for axis in value.type.tensor_type.shape.dim[1:]]


def _in_order(graph: Any) -> list[Any]:
    """Nodes after those they read from, following inputs from left to right; unused ones are dropped."""
    maker = {name: node for node in graph.node for name in node.output}
    ordered: list[Any] = []
    seen: set[str] = set()
    stack = [(maker[name], False) for name in reversed(_outputs(graph))]
    while stack:
        node, inputs_done = stack.pop()
        if inputs_done:
            ordered.append(node)
        elif node.output[0] not in seen:
            seen.add(node.output[0])
            stack.append((node, True))
            stack += [(maker[name], False) for name in reversed(node.input) if name in maker]
    return ordered


def _tensor_names(graph: Any, nodes: list[Any]) -> dict[str, str]:
    """Old name of every tensor → its new one; the graph's own inputs and outputs keep theirs."""
    names = {"": ""}
    names.update({value.name: value.name for value in (*graph.input, *graph.output)})
    weights = {weight.name for weight in graph.initializer}
    numbered = 0
    for index, node in enumerate(nodes):
        for name in node.input:
            if name in weights and name not in names:
                names[name] = f"weight_{numbered}"
                numbered += 1
        for position, name in enumerate(node.output):
            suffix = f":{position}" if position else ""
            names.setdefault(name, f"{node.op_type}_{index}{suffix}")
    return names


def _renamed(node: Any, names: dict[str, str], index: int) -> Any:
    import onnx

    return onnx.NodeProto(
        op_type=node.op_type,
        domain=node.domain,
        name=f"{node.op_type}_{index}",
        input=[names[name] for name in node.input],
        output=[names[name] for name in node.output],
        attribute=sorted(node.attribute, key=lambda attribute: attribute.name),
    )


def _batched(values: Iterable[Any]) -> list[Any]:
    """Copies of inputs or outputs whose first axis, open under some number, is called `batch`."""
    import onnx

    copies = []
    for value in values:
        copy = onnx.ValueInfoProto()
        copy.CopyFrom(value)
        copy.type.tensor_type.shape.dim[0].dim_param = "batch"
        copies.append(copy)
    return copies
