"""Each pass on the pattern it is for, and on one that only looks like it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from pipelines.quantize.graph import Graph
from pipelines.quantize.rewriting.attention import einsum_products, rows_of_scores
from pipelines.quantize.rewriting.elementwise import average_pool, channel_order, first_pool, gelu, layer_norm
from pipelines.quantize.rewriting.shapes import class_token, flat_products, idle_reshapes, static_shapes
from tests.support.graphs import Node, Shape, build, live_operators, run

RNG = np.random.default_rng(0)
X = RNG.normal(0.5, 2, (3, 5, 8)).astype(np.float32)
FLAT: dict[str, Shape] = {"x": ["batch", 5, 8]}


def _check(model: onnx.ModelProto, apply: object, *, found: int, **inputs: np.ndarray) -> onnx.ModelProto:
    """Apply a pass, make sure of how often it found its pattern and that the answers stay the same."""
    before = run(model, **inputs)
    assert callable(apply)
    assert apply(Graph(model)) == found
    for old, new in zip(before, run(model, **inputs), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-6)
    return model


def _keras_norm(*, epsilon: float = 1e-3, axis: int = -1) -> onnx.ModelProto:
    """As Keras 3 computes it: x·γ/σ + (β − μ·γ/σ)."""
    nodes: list[Node] = [
        ("ReduceMean", ["x", "axis"], "mean", {}),
        ("Sub", ["x", "mean"], "centred", {}),
        ("Mul", ["centred", "centred"], "square", {}),
        ("ReduceMean", ["square", "axis"], "variance", {}),
        ("Add", ["variance", "epsilon"], "above", {}),
        ("Sqrt", ["above"], "deviation", {}),
        ("Reciprocal", ["deviation"], "inverse", {}),
        ("Mul", ["inverse", "gamma"], "scale", {}),
        ("Neg", ["mean"], "negative", {}),
        ("Mul", ["negative", "scale"], "moved", {}),
        ("Add", ["moved", "beta"], "shift", {}),
        ("Mul", ["x", "scale"], "scaled", {}),
        ("Add", ["scaled", "shift"], "normed", {}),
        ("Relu", ["normed"], "out", {}),
    ]
    weights = {
        "axis": np.array([axis]),
        "epsilon": np.float32(epsilon),
        "gamma": RNG.normal(1, 0.2, (1, 1, 8)).astype(np.float32),
        "beta": RNG.normal(0, 0.2, (1, 1, 8)).astype(np.float32),
    }
    return build(nodes, inputs=FLAT, outputs={"out": ["batch", 5, 8]}, weights=weights)


def test_keras_layer_norm_becomes_one_operator() -> None:
    model = _check(_keras_norm(), layer_norm, found=1, x=X)
    assert live_operators(model) == {"LayerNormalization": 1, "Relu": 1}


def test_a_norm_over_another_axis_is_left_alone() -> None:
    _check(_keras_norm(axis=1), layer_norm, found=0, x=X)


def _gelu(half: float) -> onnx.ModelProto:
    nodes: list[Node] = [
        ("Relu", ["x"], "y", {}),
        ("Mul", ["half", "y"], "halved", {}),
        ("Neg", ["y"], "negative", {}),
        ("Mul", ["negative", "root"], "scaled", {}),
        ("Erf", ["scaled"], "erf", {}),
        ("Sub", ["one", "erf"], "rest", {}),
        ("Mul", ["halved", "rest"], "product", {}),
        ("Relu", ["product"], "out", {}),
    ]
    weights = {"half": np.float32(half), "root": np.float32(np.sqrt(0.5)), "one": np.float32(1)}
    return build(nodes, inputs=FLAT, outputs={"out": ["batch", 5, 8]}, weights=weights)


def test_gelu_takes_the_form_that_onnx_runtime_fuses() -> None:
    model = _check(_gelu(0.5), gelu, found=1, x=X)
    assert live_operators(model) == {"Relu": 2, "Div": 1, "Erf": 1, "Add": 1, "Mul": 2}


def test_something_else_with_erf_is_left_alone() -> None:
    _check(_gelu(0.7), gelu, found=0, x=X)


def test_einsum_of_attention_becomes_products() -> None:
    nodes: list[Node] = [
        ("Einsum", ["q", "k"], "scores", {"equation": "btnh,bsnh->bnts"}),
        ("Softmax", ["scores"], "weights", {"axis": -1}),
        ("Einsum", ["weights", "v"], "heads", {"equation": "bnts,bsnh->btnh"}),
        ("Relu", ["heads"], "out", {}),
    ]
    shape: Shape = ["batch", 6, 2, 4]
    model = build(nodes, inputs=dict.fromkeys("qkv", shape), outputs={"out": shape}, weights={})
    inputs = {name: RNG.normal(size=(3, 6, 2, 4)).astype(np.float32) for name in "qkv"}
    _check(model, einsum_products, found=2, **inputs)
    assert live_operators(model)["Einsum"] == 0


def test_another_einsum_is_left_alone() -> None:
    nodes: list[Node] = [
        ("Einsum", ["x", "y"], "z", {"equation": "bij,bkj->bik"}),
        ("Relu", ["z"], "out", {}),
    ]
    model = build(nodes, inputs=FLAT | {"y": FLAT["x"]}, outputs={"out": ["batch", 5, 5]}, weights={})
    _check(model, einsum_products, found=0, x=X, y=X)


def test_softmax_over_columns_becomes_one_over_rows() -> None:
    nodes: list[Node] = [
        ("Transpose", ["k"], "keys", {"perm": [0, 2, 1, 3]}),
        ("Transpose", ["q"], "queries", {"perm": [0, 2, 3, 1]}),
        ("MatMul", ["keys", "queries"], "scores", {}),
        ("Softmax", ["scores"], "columns", {"axis": 2}),
        ("Transpose", ["columns"], "rows", {"perm": [0, 1, 3, 2]}),
        ("Relu", ["rows"], "out", {}),
    ]
    shape: Shape = ["batch", 6, 2, 4]
    model = build(nodes, inputs={"q": shape, "k": shape}, outputs={"out": ["batch", 2, 6, 6]}, weights={})
    inputs = {name: RNG.normal(size=(3, 6, 2, 4)).astype(np.float32) for name in "qk"}
    _check(model, rows_of_scores, found=1, **inputs)
    assert live_operators(model) == {"Transpose": 2, "MatMul": 1, "Softmax": 1, "Relu": 1}


def _image_graph(
    nodes: list[Node], weights: dict[str, np.ndarray], shape: list[int | str]
) -> onnx.ModelProto:
    first: list[Node] = [("Cast", ["image"], "x", {"to": onnx.TensorProto.FLOAT})]
    return build(
        [*first, *nodes], inputs={"image": ["batch", 4, 6, 3]}, outputs={"out": shape}, weights=weights
    )


def test_a_shape_of_which_only_the_batch_is_open_becomes_constant() -> None:
    nodes: list[Node] = [
        ("Shape", ["x"], "shape", {}),
        ("Gather", ["shape", "first"], "batch", {}),
        ("Concat", ["batch", "rest"], "wanted", {"axis": 0}),
        ("Reshape", ["x", "wanted"], "flat", {}),
        ("Relu", ["flat"], "out", {}),
    ]
    model = _image_graph(nodes, {"first": np.array([0]), "rest": np.array([24, 3])}, ["batch", 24, 3])
    image = RNG.integers(0, 256, (5, 4, 6, 3), np.uint8)
    _check(model, static_shapes, found=1, image=image)
    assert live_operators(model) == {"Cast": 1, "Reshape": 1, "Relu": 1}


def test_a_shape_with_two_open_sizes_stays_computed() -> None:
    nodes: list[Node] = [
        ("Shape", ["x"], "shape", {}),
        ("Gather", ["shape", "first"], "batch", {}),
        ("Concat", ["batch", "one", "batch", "minus"], "wanted", {"axis": 0}),
        ("Concat", ["x", "x"], "pair", {"axis": 1}),
        ("Expand", ["one_f", "wanted_square"], "square", {}),
        ("Concat", ["batch", "batch"], "wanted_square", {"axis": 0}),
        ("Reshape", ["square", "wanted_square"], "flat", {}),
        ("Relu", ["flat"], "out", {}),
    ]
    # Only what leads to the output counts; the order must be one that can be computed.
    order = [0, 1, 5, 4, 6, 7]
    weights = {"first": np.array([0]), "one_f": np.ones((1, 1), np.float32)}
    model = _image_graph([nodes[index] for index in order], weights, ["n", "n"])
    _check(model, static_shapes, found=0, image=RNG.integers(0, 256, (3, 4, 6, 3), np.uint8))


def test_a_tiled_class_token_becomes_part_of_the_positions() -> None:
    nodes: list[Node] = [
        ("Shape", ["x"], "shape", {}),
        ("Gather", ["shape", "first"], "batch", {}),
        ("Concat", ["batch", "ones"], "repeats", {"axis": 0}),
        ("Tile", ["token", "repeats"], "tokens", {}),
        ("Concat", ["tokens", "x"], "with_token", {"axis": 1}),
        ("Add", ["with_token", "positions"], "placed", {}),
        ("Relu", ["placed"], "out", {}),
    ]
    weights = {
        "first": np.array([0]),
        "ones": np.array([1, 1]),
        "token": RNG.normal(size=(1, 1, 8)).astype(np.float32),
        "positions": RNG.normal(size=(1, 6, 8)).astype(np.float32),
    }
    model = build(nodes, inputs=FLAT, outputs={"out": ["batch", 6, 8]}, weights=weights)
    _check(model, class_token, found=1, x=X)
    assert live_operators(model) == {"Pad": 1, "Add": 1, "Relu": 1}


@pytest.mark.parametrize(
    ("back", "found"), [((-1, 5, 4), 1), ((-1, 10, 2), 0)], ids=["same-rows", "other-rows"]
)
def test_a_product_of_rows_needs_no_reshape_around_it(back: tuple[int, ...], found: int) -> None:
    nodes: list[Node] = [
        ("Reshape", ["x", "flat_shape"], "flat", {}),
        ("MatMul", ["flat", "weight"], "product", {}),
        ("Reshape", ["product", "back_shape"], "y", {}),
        ("Relu", ["y"], "out", {}),
    ]
    weights = {
        "flat_shape": np.array([-1, 8]),
        "back_shape": np.array(back),
        "weight": RNG.normal(size=(8, 4)).astype(np.float32),
    }
    model = build(nodes, inputs=FLAT, outputs={"out": ["batch", *back[1:]]}, weights=weights)
    _check(model, flat_products, found=found, x=X)
    assert live_operators(model)["Reshape"] == 2 * (1 - found)


PLANES = RNG.normal(size=(3, 6, 5, 4)).astype(np.float32)


@pytest.mark.parametrize(("axes", "found"), [((2, 3), 1), ((1, 2), 0)], ids=["rows-and-columns", "others"])
def test_the_mean_of_a_plane_becomes_a_pool(axes: tuple[int, int], found: int) -> None:
    size = 6 if found else 4
    nodes: list[Node] = [
        ("ReduceMean", ["x", "axes"], "mean", {"keepdims": 0}),
        ("Reshape", ["mean", "shape"], "pooled", {}),
        ("Relu", ["pooled"], "out", {}),
    ]
    weights = {"axes": np.array(axes), "shape": np.array([-1, size, 1, 1])}
    model = build(
        nodes, inputs={"x": ["batch", 6, 5, 4]}, outputs={"out": ["batch", size, 1, 1]}, weights=weights
    )
    _check(model, average_pool, found=found, x=PLANES)
    assert live_operators(model)["GlobalAveragePool"] == found


@pytest.mark.parametrize(
    ("shape", "found"), [((-1, 6, 5, 4), 1), ((-1, 5, 6, 4), 0)], ids=["same", "another"]
)
def test_a_reshape_to_the_same_shape_goes(shape: tuple[int, ...], found: int) -> None:
    nodes: list[Node] = [
        ("Relu", ["x"], "y", {}),
        ("Reshape", ["y", "shape"], "z", {}),
        ("Relu", ["z"], "out", {}),
    ]
    model = build(nodes, inputs={"x": ["batch", 6, 5, 4]}, outputs={"out": ["batch", *shape[1:]]},
                  weights={"shape": np.array(shape)})  # fmt: skip
    _check(model, idle_reshapes, found=found, x=PLANES)
    assert live_operators(model)["Reshape"] == 1 - found


def _first_layers(*, padding: str | None, value: float = 0.0, activation: str = "Relu") -> onnx.ModelProto:
    """Convolution, activation, zeros around, pool, second convolution."""
    nodes: list[Node] = [
        ("Conv", ["x", "w"], "a", {}),
        (activation, ["a"], "b", {}),
        ("MaxPool", ["b"], "p", {"kernel_shape": [3, 3], "strides": [2, 2]}),
        ("Conv", ["p", "v"], "out", {}),
    ]
    if padding is not None:
        nodes.insert(2, ("Pad", ["b", "pads", "value"], "padded", {"mode": padding}))
        nodes[3] = ("MaxPool", ["padded"], "p", {"kernel_shape": [3, 3], "strides": [2, 2]})
    weights = {
        "w": RNG.normal(size=(6, 6, 1, 1)).astype(np.float32),
        "v": RNG.normal(size=(4, 6, 1, 1)).astype(np.float32),
        "pads": np.array([0, 0, 1, 2, 0, 0, 1, 2]),
        "value": np.float32(value),
    }
    rows, columns = (3, 3) if padding is not None else (2, 1)
    return build(nodes, inputs={"x": ["batch", 6, 5, 4]}, outputs={"out": ["batch", 4, rows, columns]},
                 weights=weights)  # fmt: skip


@pytest.mark.parametrize("padding", [None, "constant"], ids=["bare", "zeros-around"])
def test_the_first_pool_goes_before_its_relu(padding: str | None) -> None:
    # All below zero in some windows: there the padding decides.
    model = _check(_first_layers(padding=padding), first_pool, found=1, x=PLANES - 0.5)
    assert live_operators(model) == {"Conv": 2, "MaxPool": 1, "Relu": 1}
    order = [node.op_type for node in model.graph.node]
    assert order.index("MaxPool", order.index("MaxPool") + 1) < order.index("Relu", order.index("Relu") + 1)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"padding": "constant", "value": 1.0}, id="ones-around"),
        pytest.param({"padding": "reflect"}, id="reflected"),
        pytest.param({"padding": None, "activation": "Sigmoid"}, id="another-activation"),
    ],
)
def test_a_pool_whose_order_matters_stays(changes: dict[str, Any]) -> None:
    _check(_first_layers(**changes), first_pool, found=0, x=PLANES)


@pytest.mark.parametrize(("order", "found"), [((2, 0, 1), 1), ((0, 0, 1), 0)], ids=["order", "choice"])
def test_an_order_of_channels_moves_into_the_weights(order: tuple[int, ...], found: int) -> None:
    nodes: list[Node] = [
        ("Gather", ["x", "order"], "turned", {"axis": -1}),
        ("Transpose", ["turned"], "planes", {"perm": [0, 3, 1, 2]}),
        ("Conv", ["planes", "w"], "a", {}),
        ("Relu", ["a"], "out", {}),
    ]
    weights = {"order": np.array(order), "w": RNG.normal(size=(5, 3, 3, 3)).astype(np.float32)}
    model = _image_graph(nodes, weights, ["batch", 5, 2, 4])
    image = RNG.integers(0, 256, (3, 4, 6, 3), np.uint8)
    _check(model, channel_order, found=found, image=image)
    assert live_operators(model)["Gather"] == 1 - found
