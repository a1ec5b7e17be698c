"""Averages of a picture and its mirror image, inside one graph, at twice the cost.

A batch of n pictures becomes 2n: the pictures, then their mirror images in the same order. The network runs
once on all of them, and the two halves of its embeddings and heatmaps are averaged. Krizhevsky et al., 2012
("ImageNet classification with deep convolutional neural networks", section 4.1), average over mirror images
too.

    both             the 2n pictures, in NumPy: what Keras is given
    add_mirrors      the same as nodes of the converted graph, so that Keras' side of the comparison does not
                     depend on them
    mean_rows        2n rows → n, TensorFlow
    mean_heatmap     2n maps → n, TensorFlow
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines.export.heatmaps import RawHeatmap
from serving.contract.arrays import Image
from serving.contract.model import IMAGE

_COLUMNS = 2
"""Axis of a picture's columns in [batch, rows, columns, 3]."""
# ONNX `Slice`: a backward slice reaches the first element if its end lies before every possible start.
_BEFORE_THE_FIRST = np.iinfo(np.int64).min
_BATCH = "pictures_and_mirrors"


def both(images: Image) -> Image:
    """uint8 [n, H, W, 3] → uint8 [2n, H, W, 3]: the pictures, then their mirror images."""
    return np.concatenate([images, images[:, :, ::-1]])


def add_mirrors(model: Any) -> None:
    """Put mirror images behind the pictures of the input, in place.

    Args:
        model: onnx.ModelProto that takes 2n pictures as `image`, see `both`; afterwards it takes n.
    """
    import onnx
    from onnx import helper, numpy_helper

    graph = model.graph
    for node in graph.node:
        node.input[:] = [_BATCH if name == IMAGE else name for name in node.input]
    numbers = {"start": -1, "end": _BEFORE_THE_FIRST, "axis": _COLUMNS, "step": -1}
    names = {name: f"mirror_{name}" for name in numbers}
    graph.initializer.extend(
        numpy_helper.from_array(np.array([value], np.int64), names[name]) for name, value in numbers.items()
    )
    nodes = [
        helper.make_node("Slice", [IMAGE, *names.values()], ["mirrors"]),
        helper.make_node("Concat", [IMAGE, "mirrors"], [_BATCH], axis=0),
        *graph.node,
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)


def mean_rows(values: Any) -> Any:
    """float32 [2n, D] → float32 [n, D]."""
    import tensorflow as tf

    return tf.reduce_mean(tf.reshape(values, (2, -1, values.shape[1])), axis=0)


def mean_heatmap(heatmap: RawHeatmap) -> RawHeatmap:
    """2n maps → n: those of mirror images are flipped back, then both are averaged, and so are their floors.

    A floor bounds a map's rounding error; the error of a mean is at most the mean of the errors.
    """
    import tensorflow as tf

    _, rows, columns = heatmap.values.shape
    maps = tf.reshape(heatmap.values, (2, -1, rows, columns))
    floor = heatmap.floor
    return RawHeatmap(
        values=(maps[0] + maps[1, :, :, ::-1]) / 2,
        floor=None if floor is None else tf.reduce_mean(tf.reshape(floor, (2, -1, 1, 1)), axis=0),
    )
