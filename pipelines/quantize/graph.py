"""An ONNX graph that can be queried and changed: producers and readers of tensors, constants, shapes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int | None, ...]
"""Sizes; None where one is open."""


# `onnx.TensorProto.FLOAT`, without importing ONNX for it.
_FLOAT32 = 1
# Number of elements; tensors that contain a shape have only a few.
_LARGE = 64


class Graph:
    """A model without subgraphs.

    A change adds nodes and redirects readers of the old nodes to them. Unused nodes stay until
    `pipelines.export.canonical` writes the graph again.
    """

    def __init__(self, model: Any) -> None:
        """Wrap `model`, an onnx.ModelProto, which is changed in place."""
        self.model = model
        self._graph = model.graph
        self._maker = {name: node for node in self._graph.node for name in node.output}
        self._readers: dict[str, list[Any]] = defaultdict(list)
        for node in self._graph.node:
            for name in dict.fromkeys(node.input):
                self._readers[name].append(node)
        self._weights = {weight.name: weight for weight in self._graph.initializer}
        self._outputs = {output.name for output in self._graph.output}

    def nodes(self, *operators: str) -> list[Any]:
        """Nodes with these operators, or all nodes without arguments, in the graph's order."""
        return [node for node in self._graph.node if not operators or node.op_type in operators]

    def maker(self, tensor: str, operator: str | None = None) -> Any | None:
        """The node that produces `tensor`, if it exists and has this operator."""
        node = self._maker.get(tensor)
        return node if node is not None and operator in (None, node.op_type) else None

    def readers(self, tensor: str) -> list[Any]:
        """Nodes that read `tensor`."""
        return list(self._readers[tensor])

    def only_reader(self, tensor: str, operator: str) -> Any | None:
        """The only reader of `tensor` if it has this operator and `tensor` is not a graph output."""
        readers = self._readers[tensor]
        found = len(readers) == 1 and tensor not in self._outputs and readers[0].op_type == operator
        return readers[0] if found else None

    def before(self, tensors: Iterable[str]) -> set[str]:
        """Names of all nodes that `tensors` depend on."""
        found: set[str] = set()
        waiting = list(tensors)
        while waiting:
            node = self._maker.get(waiting.pop())
            if node is not None and node.name not in found:
                found.add(node.name)
                waiting += node.input
        return found

    def after(self, tensor: str) -> set[str]:
        """Names of all nodes that depend on `tensor`."""
        found: set[str] = set()
        waiting = [tensor]
        while waiting:
            for node in self._readers[waiting.pop()]:
                if node.name not in found:
                    found.add(node.name)
                    waiting += node.output
        return found

    def constant(self, tensor: str) -> NDArray[Any] | None:
        """Value of a tensor if it is a weight."""
        from onnx import numpy_helper

        weight = self._weights.get(tensor)
        return None if weight is None else np.asarray(numpy_helper.to_array(weight))

    def is_constant(self, tensor: str) -> bool:
        """Whether a tensor is a weight."""
        return tensor in self._weights

    def scalar(self, tensor: str) -> float | None:
        """Value of a tensor if it is a weight with one element."""
        value = self.constant(tensor)
        return float(value.reshape(())) if value is not None and value.size == 1 else None

    def constant_beside(self, node: Any, tensor: str) -> NDArray[Any] | None:
        """Value of the other input of a node with two inputs, if it is a weight."""
        others = [name for name in node.input if name != tensor]
        return self.constant(others[0]) if len(others) == 1 else None

    def shape(self, tensor: str) -> Shape | None:
        """Shape, if known, of a weight or of a tensor of the original graph."""
        weight = self._weights.get(tensor)
        return self._shapes.get(tensor) if weight is None else tuple(weight.dims)

    def is_float(self, tensor: str) -> bool:
        """Whether a tensor is float32, as far as shape inference knows."""
        return self._types.get(tensor) == _FLOAT32

    def add_constant(self, value: NDArray[Any]) -> str:
        """Add a weight; return its name."""
        from onnx import numpy_helper

        name = f"rewritten_{len(self._graph.initializer)}"
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        self._weights[name] = self._graph.initializer[-1]
        return name

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node with one output; return the name of this tensor."""
        from onnx import helper

        name = f"{operator}_rewritten_{len(self._graph.node)}"
        self._graph.node.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        node = self._graph.node[-1]
        self._maker[name] = node
        for tensor in dict.fromkeys(inputs):
            self._readers[tensor].append(node)
        return name

    def redirect(self, old: str, new: str) -> None:
        """Make all readers of `old` read `new`; `old` is a node's output but not a graph output."""
        for node in self._readers.pop(old, []):
            node.input[:] = [new if name == old else name for name in node.input]
            self._readers[new].append(node)

    @cached_property
    def _inferred(self) -> dict[str, Any]:
        """Tensor → inferred type and shape."""
        import onnx

        graph = onnx.shape_inference.infer_shapes(_without_large_weights(self.model), data_prop=True).graph
        return {
            value.name: value.type.tensor_type for value in (*graph.value_info, *graph.input, *graph.output)
        }

    @cached_property
    def _shapes(self) -> dict[str, Shape]:
        return {name: _sizes(kind.shape) for name, kind in self._inferred.items() if kind.HasField("shape")}

    @cached_property
    def _types(self) -> dict[str, int]:
        return {name: int(kind.elem_type) for name, kind in self._inferred.items()}


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """Value of a node's attribute, or `default`."""
    from onnx import helper

    found = (helper.get_attribute_value(one) for one in node.attribute if one.name == name)
    return next(found, default)


def _without_large_weights(model: Any) -> Any:
    """Copy a model with large weights as inputs, because shape inference copies the model several times."""
    import onnx
    from onnx import helper

    graph = model.graph
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.graph.name = graph.name
    light.graph.node.extend(graph.node)
    light.graph.input.extend(graph.input)
    light.graph.output.extend(graph.output)
    for weight in graph.initializer:
        if np.prod(weight.dims) <= _LARGE:
            light.graph.initializer.append(weight)
        else:
            light.graph.input.append(
                helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims))
            )
    return light


def _sizes(shape: Any) -> Shape:
    return tuple(size.dim_value if size.HasField("dim_value") else None for size in shape.dim)
