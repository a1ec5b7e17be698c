"""Rewrites layer norms, GELUs, the input's channels and pools into forms that ONNX Runtime runs fastest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.quantize.graph import Graph, attribute


@dataclass(frozen=True, kw_only=True)
class _Norm:
    source: str
    gamma: NDArray[np.float32]
    beta: NDArray[np.float32]
    epsilon: float
    result: str


def layer_norm(graph: Graph) -> int:
    """Twelve operators → `LayerNormalization` (ONNX 17).

    Keras computes x·γ/σ + (β − μ·γ/σ), with 1/σ as `Reciprocal(Sqrt(variance + ε))`.
    """
    found = [norm for node in graph.nodes("Reciprocal") if (norm := _norm(graph, node)) is not None]
    for norm in found:
        weights = [graph.add_constant(value) for value in (norm.gamma, norm.beta)]
        new = graph.add("LayerNormalization", [norm.source, *weights], axis=-1, epsilon=norm.epsilon)
        graph.redirect(norm.result, new)
    return len(found)


def _norm(graph: Graph, reciprocal: Any) -> _Norm | None:
    """The layer norm around one `Reciprocal`, if it is one."""
    spread = _spread(graph, reciprocal)
    scale = graph.only_reader(reciprocal.output[0], "Mul")
    gamma = None if scale is None else graph.constant_beside(scale, reciprocal.output[0])
    if spread is None or scale is None or gamma is None:
        return None
    source, epsilon = spread
    readers = graph.readers(scale.output[0])
    scaled = [node for node in readers if node.op_type == "Mul" and source in node.input]
    shifted = [node for node in readers if node.op_type == "Mul" and source not in node.input]
    if len(scaled) != 1 or len(shifted) != 1:
        return None
    shift = graph.only_reader(shifted[0].output[0], "Add")
    beta = None if shift is None else graph.constant_beside(shift, shifted[0].output[0])
    result = None if shift is None else graph.only_reader(shift.output[0], "Add")
    if beta is None or result is None or scaled[0].output[0] not in result.input:
        return None
    return _Norm(
        source=source, gamma=gamma.ravel(), beta=beta.ravel(), epsilon=epsilon, result=result.output[0]
    )


def _spread(graph: Graph, reciprocal: Any) -> tuple[str, float] | None:
    """`Reciprocal(Sqrt(mean((x − mean(x))²) + ε))` over the last axis → x and ε."""
    root = graph.maker(reciprocal.input[0], "Sqrt")
    total = graph.maker(root.input[0], "Add") if root else None
    variance = graph.maker(total.input[0], "ReduceMean") if total else None
    square = graph.maker(variance.input[0], "Mul") if variance else None
    centred = graph.maker(square.input[0], "Sub") if square else None
    mean = graph.maker(centred.input[1], "ReduceMean") if centred else None
    epsilon = graph.scalar(total.input[1]) if total else None
    if square is None or centred is None or mean is None or epsilon is None:
        return None
    alike = square.input[0] == square.input[1] and mean.input[0] == centred.input[0]
    last = all(graph.scalar(node.input[1]) == -1 for node in (variance, mean) if node is not None)
    return (centred.input[0], epsilon) if alike and last else None


def gelu(graph: Graph) -> int:
    """x/2 · (1 − erf(−x/√2)) → x · (1 + erf(x/√2)) / 2, a form that ONNX Runtime fuses into one operator."""
    count = 0
    for erf in graph.nodes("Erf"):
        scaled = graph.maker(erf.input[0], "Mul")
        negative = graph.maker(scaled.input[0], "Neg") if scaled else None
        rest = graph.only_reader(erf.output[0], "Sub")
        result = graph.only_reader(rest.output[0], "Mul") if rest else None
        x = _half(graph, result, rest.output[0]) if result and rest else None
        if negative is None or result is None or x is None or x != negative.input[0]:
            continue
        ratio = graph.add("Div", [x, graph.add_constant(np.array(np.sqrt(2), np.float32))])
        above = graph.add("Add", [graph.add("Erf", [ratio]), graph.add_constant(np.array(1, np.float32))])
        product = graph.add("Mul", [x, above])
        new = graph.add("Mul", [product, graph.add_constant(np.array(0.5, np.float32))])
        graph.redirect(result.output[0], new)
        count += 1
    return count


def _half(graph: Graph, product: Any, one: str) -> str | None:
    """x, where the other factor of `product` is x/2."""
    other = next((name for name in product.input if name != one), "")
    halved = graph.maker(other, "Mul")
    if halved is None:
        return None
    return next((name for name in halved.input if _is_half(graph, halved, name)), None)


def _is_half(graph: Graph, halved: Any, name: str) -> bool:
    beside = graph.constant_beside(halved, name)
    return not graph.is_constant(name) and beside is not None and beside.size == 1 and float(beside) == 0.5


_TO_PLANES = [0, 3, 1, 2]


def channel_order(graph: Graph) -> int:
    """`Conv(Transpose(Gather(x, [2, 1, 0])))` → `Conv(Transpose(x))`, its weights in that order.

    ResNet-50 was trained on BGR; separating a picture's channels costs more than scaling it.
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

    That convolution mostly stays in float. ONNX Runtime moves the quantisation after it up through a pool,
    whose int8 kernel is slow in the layout it then has (ResNet-50: a tenth of the whole time), but not
    through a ReLU. Zero padding after a ReLU and no padding before it have the same maximum
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
