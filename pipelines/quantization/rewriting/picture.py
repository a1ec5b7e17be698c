"""What happens to the picture before the first layer."""

from __future__ import annotations

import numpy as np

from pipelines.quantize.graph import Graph, attribute

_TO_PLANES = [0, 3, 1, 2]


def channel_order(graph: Graph) -> int:
    """`Conv(Transpose(Gather(x, [2, 1, 0])))` → `Conv(Transpose(x))`, its weights in that order.

    ResNet-50 was trained on BGR; taking a picture's channels apart costs more than scaling it.
    """
    count = 0
    for gather in graph.nodes("Gather"):
        order = graph.constant(gather.input[1])
        planes = graph.only_reader(gather.output[0], "Transpose")
        convolution = None if planes is None else graph.only_reader(planes.output[0], "Conv")
        if order is None or order.ndim != 1 or planes is None or convolution is None:
            continue
        weights = graph.constant(convolution.input[1])
        last = attribute(gather, "axis", 0) in (-1, 3)
        if weights is None or not last or list(attribute(planes, "perm")) != _TO_PLANES:
            continue
        if sorted(order.tolist()) != list(range(weights.shape[1])):
            continue
        reordered = np.empty_like(weights)
        reordered[:, order] = weights
        convolution.input[1] = graph.add_constant(reordered)
        graph.redirect(gather.output[0], gather.input[0])
        count += 1
    return count
