"""Rewrites attention as matrix products with a softmax along rows, for which ONNX Runtime has kernels."""

from __future__ import annotations

from pipelines.quantize.graph import Graph, attribute

_HEADS_FIRST = [0, 2, 1, 3]
_KEYS = [0, 2, 3, 1]


def einsum_products(graph: Graph) -> int:
    """The two `Einsum` of KerasHub's attention → `Transpose` and `MatMul`."""
    count = 0
    for node in graph.nodes("Einsum"):
        left, right = node.input
        equation = attribute(node, "equation").decode()
        if equation == "btnh,bsnh->bnts":
            queries = graph.add("Transpose", [left], perm=_HEADS_FIRST)
            keys = graph.add("Transpose", [right], perm=_KEYS)
            result = graph.add("MatMul", [queries, keys])
        elif equation == "bnts,bsnh->btnh":
            values = graph.add("Transpose", [right], perm=_HEADS_FIRST)
            result = graph.add("Transpose", [graph.add("MatMul", [left, values])], perm=_HEADS_FIRST)
        else:
            continue
        graph.redirect(node.output[0], result)
        count += 1
    return count


def rows_of_scores(graph: Graph) -> int:
    """Softmax over the columns of K·Qᵀ, transposed → softmax over the rows of Q·Kᵀ."""
    count = 0
    for softmax in graph.nodes("Softmax"):
        scores = graph.maker(softmax.input[0], "MatMul")
        transposed = graph.only_reader(softmax.output[0], "Transpose")
        if scores is None or transposed is None or attribute(softmax, "axis") != 2:
            continue
        keys, queries = (graph.maker(name, "Transpose") for name in scores.input)
        if keys is None or queries is None or list(attribute(transposed, "perm")) != [0, 1, 3, 2]:
            continue
        if (list(attribute(keys, "perm")), list(attribute(queries, "perm"))) != (_HEADS_FIRST, _KEYS):
            continue
        left = graph.add("Transpose", [queries.input[0]], perm=_HEADS_FIRST)
        right = graph.add("Transpose", [keys.input[0]], perm=_KEYS)
        rows = graph.add("Softmax", [graph.add("MatMul", [left, right])], axis=-1)
        graph.redirect(transposed.output[0], rows)
        count += 1
    return count
