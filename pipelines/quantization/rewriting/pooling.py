"""The squeeze of a squeeze-and-excite block as one operator that keeps its layout."""

from __future__ import annotations

from pipelines.quantization.graph import Graph


def average_pool(graph: Graph) -> int:
    """`Reshape(ReduceMean(x, rows and columns), [−1, channels, 1, 1])` → `GlobalAveragePool(x)`.

    The pair leaves ONNX Runtime's blocked layout and comes back, and has no int8 kernel; the pool has one.
    """
    count = 0
    for mean in graph.nodes("ReduceMean"):
        axes = graph.constant(mean.input[1]) if len(mean.input) > 1 else None
        reshape = graph.only_reader(mean.output[0], "Reshape")
        shape = None if reshape is None else graph.constant(reshape.input[1])
        if axes is None or list(axes) != [2, 3] or reshape is None or shape is None:
            continue
        if shape.size == 4 and list(shape[2:]) == [1, 1]:
            graph.redirect(reshape.output[0], graph.add("GlobalAveragePool", [mean.input[0]]))
            count += 1
    return count
