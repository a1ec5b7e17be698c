"""Pools as ONNX Runtime runs them fastest, in float32 and in eight bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines.quantize.graph import Graph, attribute


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


def first_pool(graph: Graph) -> int:
    """`MaxPool(ReLU(x))` behind the first convolution → `ReLU(MaxPool(x))`; zeros around go into the pool.

    That convolution mostly stays in float. ONNX Runtime draws the quantisation after it up through a pool,
    whose int8 kernel is slow in the layout it then has (ResNet-50: a tenth of the whole time), but not
    through a ReLU. Zeros around what a ReLU gave and nothing around what it is given have the same maximum
    after it.
    """
    convolution = next(iter(graph.nodes("Conv")), None)
    relu = None if convolution is None else graph.only_reader(convolution.output[0], "Relu")
    if relu is None:
        return 0
    padding = graph.only_reader(relu.output[0], "Pad")
    pads = None if padding is None else _zero_pads(graph, padding)
    before = relu if padding is None or pads is None else padding
    pool = graph.only_reader(before.output[0], "MaxPool")
    if pool is None or any(attribute(pool, "pads", [])):
        return 0
    settings = {one.name: attribute(pool, one.name) for one in pool.attribute if one.name != "pads"}
    if pads is not None:
        settings["pads"] = pads
    pooled = graph.add("MaxPool", [relu.input[0]], **settings)
    graph.redirect(pool.output[0], graph.add("Relu", [pooled]))
    return 1


def _zero_pads(graph: Graph, padding: Any) -> list[int] | None:
    """Top, left, bottom, right of a `Pad` with zeros of rows and columns alone."""
    pads = graph.constant(padding.input[1])
    value = graph.scalar(padding.input[2]) if len(padding.input) > 2 and padding.input[2] else 0.0
    plain = len(padding.input) <= 3 and attribute(padding, "mode", b"constant") == b"constant"
    if pads is None or pads.size != 8 or value != 0 or not plain:
        return None
    around = np.asarray(pads).reshape(2, 4)
    return None if around[:, :2].any() or (around < 0).any() else around[:, 2:].ravel().tolist()
