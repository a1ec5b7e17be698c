"""Which nodes compute in eight bits, by rule, in a graph that has one of everything."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest

from pipelines.quantize.graph import Graph
from pipelines.quantize.mixed_precision import RULES, int8_nodes
from pipelines.quantize.qdq import activations
from tests.support.graphs import Node, Shape, build

RNG = np.random.default_rng(0)
# What eight bits could take, in the order of the graph.
SWISH = ("Sigmoid-swish_gate", "Mul-swish")
SQUEEZE = (
    "GlobalAveragePool-squeezed",
    "Conv-less",
    "Relu-less_relu",
    "Conv-more",
    "Sigmoid-gate",
    "Mul-excited",
)
BETWEEN = (
    "Relu-b",
    *SWISH,
    "GlobalAveragePool-squeezed",
    "Relu-less_relu",
    "Sigmoid-gate",
    "Mul-excited",
    "Add-sum",
)


@pytest.fixture
def graph() -> Graph:
    """Scaling, two convolutions, swish, squeeze and excite, a residual, a head, and a heatmap's branch."""
    nodes: list[Node] = [
        ("Cast", ["image"], "x", {"to": 1}),
        ("Mul", ["x", "scale"], "unit", {}),
        ("Transpose", ["unit"], "planes", {"perm": [0, 3, 1, 2]}),
        ("Conv", ["planes", "w_first"], "a", {}),
        ("Relu", ["a"], "b", {}),
        ("Conv", ["b", "w_second"], "c", {}),
        ("Sigmoid", ["c"], "swish_gate", {}),
        ("Mul", ["c", "swish_gate"], "swish", {}),
        ("GlobalAveragePool", ["swish"], "squeezed", {}),
        ("Conv", ["squeezed", "w_less"], "less", {}),
        ("Relu", ["less"], "less_relu", {}),
        ("Conv", ["less_relu", "w_more"], "more", {}),
        ("Sigmoid", ["more"], "gate", {}),
        ("Mul", ["swish", "gate"], "excited", {}),
        ("Add", ["excited", "b"], "sum", {}),
        ("ReduceMean", ["sum", "plane"], "pooled", {"keepdims": 0}),
        ("Gemm", ["pooled", "w_hidden"], "hidden", {}),
        ("Relu", ["hidden"], "embedding", {}),
        ("Gemm", ["embedding", "w_logits"], "logits", {}),
        ("Mul", ["logits", "temperature"], "scaled", {}),
        ("Softmax", ["scaled"], "probabilities", {"axis": -1}),
        ("MatMul", ["embedding", "w_back"], "gradient", {}),
        ("Unsqueeze", ["gradient", "plane"], "channels", {}),
        ("Mul", ["sum", "channels"], "evidence", {}),
        ("ReduceMean", ["evidence", "channel"], "heatmap", {"keepdims": 0}),
    ]

    def normal(*shape: int) -> np.ndarray:
        return RNG.normal(size=shape).astype(np.float32)

    weights = {
        "scale": np.float32(1 / 255),
        "temperature": np.float32(1.5),
        "plane": np.array([2, 3]),
        "channel": np.array([1]),
        "w_first": normal(6, 3, 1, 1),
        "w_second": normal(6, 6, 1, 1),
        "w_less": normal(2, 6, 1, 1),
        "w_more": normal(6, 2, 1, 1),
        "w_hidden": normal(6, 4),
        "w_logits": normal(4, 3),
        "w_back": normal(4, 6),
    }
    outputs: dict[str, Shape] = {
        "probabilities": ["batch", 3],
        "heatmap": ["batch", 8, 8],
        "embedding": ["batch", 4],
    }
    return Graph(build(nodes, inputs={"image": ["batch", 8, 8, 3]}, outputs=outputs, weights=weights))


PRODUCTS = ("Conv-a", "Conv-c", "Conv-less", "Conv-more", "Gemm-hidden", "Gemm-logits", "MatMul-gradient")


def chosen(graph: Graph, *, between: bool = True, keep_float: Collection[str] = ()) -> set[str]:
    return set(int8_nodes(graph, between=between, keep_float=keep_float))


def test_products_alone_are_the_layers_and_the_heatmaps_matrix(graph: Graph) -> None:
    assert int8_nodes(graph, between=False, keep_float=()) == PRODUCTS


def test_between_the_layers_everything_with_a_kernel_is_taken_too(graph: Graph) -> None:
    """But not the picture's scaling, outputs, temperature and softmax, nor the heatmap's arithmetic."""
    assert chosen(graph) == {*PRODUCTS, *BETWEEN}


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("first", {"Conv-a", "Relu-b"}),
        (
            "stem",
            {
                "Conv-a",
                "Relu-b",
                "Conv-c",
                *SWISH,
                "GlobalAveragePool-squeezed",
                "Conv-less",
                "Relu-less_relu",
            },
        ),
        ("last", {"Gemm-logits"}),
        ("head", {"Gemm-hidden", "Gemm-logits"}),
        ("heatmap", {"MatMul-gradient"}),
        ("swish", set(SWISH)),
        ("squeeze", set(SQUEEZE)),
    ],
)
def test_a_rule_keeps_these_and_no_others(graph: Graph, rule: str, kept: set[str]) -> None:
    assert chosen(graph) - chosen(graph, keep_float=[rule]) == kept


def test_rules_add_up(graph: Graph) -> None:
    left = chosen(graph, keep_float=list(RULES))
    assert left == {"Add-sum"}


def test_without_a_layer_nothing_is_chosen() -> None:
    model = build(
        [
            ("Cast", ["image"], "x", {"to": 1}),
            ("ReduceMean", ["x", "axes"], "probabilities", {"keepdims": 0}),
            ("ReduceMean", ["x", "channel"], "heatmap", {"keepdims": 0}),
            ("ReduceMax", ["x", "axes"], "embedding", {"keepdims": 0}),
        ],
        inputs={"image": ["batch", 8, 8, 3]},
        outputs={"probabilities": ["batch", 3], "heatmap": ["batch", 8, 8], "embedding": ["batch", 3]},
        weights={"axes": np.array([1, 2]), "channel": np.array([3])},
    )
    assert int8_nodes(Graph(model), between=True, keep_float=()) == ()


def test_the_ranges_asked_for_are_those_of_what_the_nodes_read_and_make(graph: Graph) -> None:
    found = activations(graph, ("Conv-a", "Relu-b"))
    assert found == ["planes", "a", "b"]
