"""Rewrites of the graph into fewer, equivalent operators that run faster.

ONNX Runtime fuses patterns when it loads a file, but not these: shapes computed at run time, the
layer norm and GELU as Keras writes them, attention by `einsum` or over columns, an average pool followed by a
reshape, separated channels. Without the rewrites they cost a ViT a third of its time and put layout changes
around every squeeze-and-excite block of EfficientNet, none of which int8 makes faster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipelines.export.canonical import canonical
from pipelines.quantize.graph import Graph
from pipelines.quantize.rewriting.attention import einsum_products, rows_of_scores
from pipelines.quantize.rewriting.elementwise import average_pool, channel_order, first_pool, gelu, layer_norm
from pipelines.quantize.rewriting.shapes import class_token, flat_products, idle_reshapes, static_shapes

PASSES: tuple[Callable[[Graph], int], ...] = (
    static_shapes,
    class_token,
    layer_norm,
    gelu,
    einsum_products,
    rows_of_scores,
    flat_products,
    average_pool,
    idle_reshapes,
    channel_order,
    first_pool,
)
"""Each changes the patterns that it finds and returns their number."""


def rewritten(model: Any) -> Any:
    """Apply every pass.

    Args:
        model: onnx.ModelProto whose outputs have the contract's names.

    Returns:
        onnx.ModelProto in canonical form that computes the same up to rounding.
    """
    # First, because passes identify nodes by their names.
    graph = Graph(canonical(model))
    for apply in PASSES:
        if apply(graph):
            graph = Graph(canonical(graph.model))
    return graph.model
