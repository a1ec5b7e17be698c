"""Which nodes compute in eight bits and which stay in float32.

Always float: the scaling of the picture before the first layer, everything after the last dense layer
(temperature, softmax), operators without an int8 kernel (layer norm, GELU), products of two activations
(attention), the outputs' nodes, and the heatmap's branch except its matrix, a copy of the head's. Rules
of `quantization.ARCHITECTURE.keep_float` add to these.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from pipelines.quantize.graph import Graph
from serving.contract.model import HEATMAP, OUTPUTS, PROBABILITIES

PRODUCTS = ("Conv", "Gemm", "MatMul")
"""Operators with most of the arithmetic."""
_POOLS = ("GlobalAveragePool", "MaxPool")
_BETWEEN = ("Add", "Clip", "Mul", "Pad", "Relu", "Reshape", "Sigmoid", "Transpose", *_POOLS)
"""Operators between them with an int8 kernel, so that a convolutional network stays in int8."""


def int8_nodes(graph: Graph, *, between: bool, keep_float: Collection[str]) -> tuple[str, ...]:
    """Names of the nodes to quantise, in the graph's order.

    Args:
        graph: rewritten; its outputs have the contract's names.
        between: whether the nodes between products are quantised too.
        keep_float: rules, keys of `RULES`.
    """
    main = graph.before([PROBABILITIES])
    products = [node for node in graph.nodes(*PRODUCTS) if graph.is_constant(node.input[1])]
    layers = [node for node in products if node.name in main]
    if not layers:
        return ()
    outside = graph.before([layers[0].input[0]]) | graph.after(layers[-1].output[0])
    wanted = {node.name for node in layers}
    wanted |= {node.name for node in products if node.name in graph.before([HEATMAP]) - main}
    if between:
        inner = main - outside - {node.name for node in graph.nodes() if set(node.output) & set(OUTPUTS)}
        # Of a ViT's shapes some are computed by these operators too.
        found = (node for node in graph.nodes(*_BETWEEN) if graph.is_float(node.output[0]))
        wanted |= {node.name for node in found if node.name in inner}
    for rule in keep_float:
        wanted -= RULES[rule](graph, layers)
    return tuple(node.name for node in graph.nodes() if node.name in wanted)


def _first(graph: Graph, layers: list[Any]) -> set[str]:
    """The first layer, with its activation and pooling: what comes after them is smaller to round."""
    return _beginning(graph, layers, 1)


def _stem(graph: Graph, layers: list[Any]) -> set[str]:
    """The first three layers: a network's largest maps and fewest channels."""
    return _beginning(graph, layers, 3)


def _beginning(graph: Graph, layers: list[Any], count: int) -> set[str]:
    """That many layers, and what lies between them and before the next one."""
    following = layers[count].input[:1] if len(layers) > count else layers[-1].output
    return graph.before(following)


def _last(graph: Graph, layers: list[Any]) -> set[str]:
    return {layers[-1].name}


def _head(graph: Graph, layers: list[Any]) -> set[str]:
    """The dense layers of the shared head, the only ones with one row for each picture."""
    return {node.name for node in layers if node.op_type == "Gemm"}


def _heatmap(graph: Graph, layers: list[Any]) -> set[str]:
    return graph.before([HEATMAP]) - graph.before([PROBABILITIES])


def _swish(graph: Graph, layers: list[Any]) -> set[str]:
    """The activation x · sigmoid(x)."""
    found = set()
    for sigmoid in graph.nodes("Sigmoid"):
        product = graph.only_reader(sigmoid.output[0], "Mul")
        if product is not None and sigmoid.input[0] in product.input:
            found |= {sigmoid.name, product.name}
    return found


def _squeeze(graph: Graph, layers: list[Any]) -> set[str]:
    """Squeeze and excite: x · gate(x), the gate and its product."""
    found = set()
    for sigmoid in graph.nodes("Sigmoid"):
        product = graph.only_reader(sigmoid.output[0], "Mul")
        if product is not None and sigmoid.input[0] not in product.input:
            scaled = [name for name in product.input if name != sigmoid.output[0]]
            found |= graph.before(sigmoid.output) - graph.before(scaled) | {product.name}
    return found


RULES: dict[str, Callable[[Graph, list[Any]], set[str]]] = {
    "first": _first,
    "stem": _stem,
    "last": _last,
    "head": _head,
    "heatmap": _heatmap,
    "swish": _swish,
    "squeeze": _squeeze,
}
"""Name → nodes that stay in float32."""
