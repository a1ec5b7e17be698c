"""Rewrites shapes that the graph computes at run time, although only the batch size is open."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.quantize.graph import Graph, attribute
from serving.inference.sessions import open_session

# Two batch sizes at which shapes are computed: the values that differ are the batch size.
_PROBES = (2, 3)


def static_shapes(graph: Graph) -> int:
    """`Reshape` to a computed shape → `Reshape` to a constant one, −1 where the batch decides.

    Keras computes `(shape(x)[0], 65, 48)` with a dozen operators around every dense layer of a ViT.
    """
    computed = {node.input[1] for node in graph.nodes("Reshape") if not graph.is_constant(node.input[1])}
    count = 0
    for name, (first, second) in _probed(graph, sorted(computed)).items():
        open_sizes = first != second
        if open_sizes.sum() <= 1 and -1 not in first:
            graph.redirect(name, graph.add_constant(np.where(open_sizes, -1, first)))
            count += 1
    return count


def _probed(graph: Graph, names: list[str]) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Values of integer tensors at two batch sizes."""
    import onnx
    from onnx import TensorProto, helper

    if not names:
        return {}
    probe = onnx.ModelProto()
    probe.CopyFrom(graph.model)
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.INT64, None) for name in names)
    session = open_session(probe.SerializeToString(), threads=1)
    image = session.get_inputs()[0]
    first, second = (
        session.run(names, {image.name: np.zeros((size, *image.shape[1:]), np.uint8)}) for size in _PROBES
    )
    return {name: (first[index], second[index]) for index, name in enumerate(names)}


def class_token(graph: Graph) -> int:
    """`Add(Concat(Tile(token), patches), positions)` → `Add(Pad(patches), positions + token)`."""
    count = 0
    for concat in graph.nodes("Concat"):
        tile = graph.maker(concat.input[0], "Tile")
        token = None if tile is None else graph.constant(tile.input[0])
        add = graph.only_reader(concat.output[0], "Add")
        if token is None or add is None or len(concat.input) != 2 or attribute(concat, "axis") != 1:
            continue
        positions = graph.constant_beside(add, concat.output[0])
        if positions is None or positions.ndim != 3 or token.shape[:2] != (1, 1):
            continue
        with_token = positions.copy()
        with_token[:, :1] += token
        pads = graph.add_constant(np.array([0, 1, 0, 0, 0, 0]))
        padded = graph.add("Pad", [concat.input[1], pads])
        graph.redirect(add.output[0], graph.add("Add", [padded, graph.add_constant(with_token)]))
        count += 1
    return count


def flat_products(graph: Graph) -> int:
    """`Reshape(MatMul(Reshape(x), weight))` in both directions → `MatMul(x, weight)`."""
    count = 0
    for product in graph.nodes("MatMul"):
        flat = graph.maker(product.input[0], "Reshape")
        back = graph.only_reader(product.output[0], "Reshape")
        if flat is None or back is None or not graph.is_constant(product.input[1]):
            continue
        source, result = graph.shape(flat.input[0]), graph.shape(back.output[0])
        rows, columns = graph.shape(product.input[1]) or (None, None)
        if not source or not result or len(source) != 3 or len(result) != 3 or None in source[1:]:
            continue
        if source[1] == result[1] and (source[2], result[2]) == (rows, columns):
            graph.redirect(back.output[0], graph.add("MatMul", [flat.input[0], product.input[1]]))
            count += 1
    return count


def idle_reshapes(graph: Graph) -> int:
    """`Reshape` to the shape that the tensor has already → nothing."""
    count = 0
    for node in graph.nodes("Reshape"):
        before, after = graph.shape(node.input[0]), graph.shape(node.output[0])
        if not before or not after or len(before) != len(after) or None in before[1:]:
            continue
        if before[1:] == after[1:]:
            graph.redirect(node.output[0], node.input[0])
            count += 1
    return count
