"""The same graph gives the same bytes, for all names and orders of its nodes."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from pipelines.export.canonical import canonical


def model(*, names: dict[str, str], nodes: list[int], unused: bool = False) -> onnx.ModelProto:
    """image → (image + a) · b → three outputs; `names` renames tensors, `nodes` orders them."""

    def called(name: str) -> str:
        return names.get(name, name)

    listed = [
        helper.make_node("Cast", ["image"], [called("number")], name=called("n0"), to=onnx.TensorProto.FLOAT),
        helper.make_node("Add", [called("number"), called("a")], [called("sum")], name=called("n1")),
        helper.make_node("Mul", [called("sum"), called("b")], ["heatmap"], name=called("n2")),
        helper.make_node("Softmax", ["heatmap"], ["probabilities"], name=called("n3"), axis=1),
        helper.make_node("Relu", [called("sum")], ["embedding"], name=called("n4")),
    ]
    weights = [
        numpy_helper.from_array(np.array([1, 2], np.float32), called("a")),
        numpy_helper.from_array(np.array([3, 4], np.float32), called("b")),
    ]
    if unused:
        weights.insert(0, numpy_helper.from_array(np.zeros(9, np.float32), "left_over"))
    outputs = ["embedding", "heatmap", "probabilities"]
    graph = helper.make_graph(
        [listed[index] for index in nodes],
        called("graph"),
        [helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, [called("unk__1"), 2])],
        [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [called("unk__2"), 2])
            for name in outputs
        ],
        weights,
        doc_string=called("doc"),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


plain = partial(model, names={}, nodes=[0, 1, 2, 3, 4])
other = partial(
    model,
    names={name: f"{name}__77" for name in ("number", "sum", "a", "b", "n0", "n1", "unk__1", "graph", "doc")},
    nodes=[0, 1, 4, 2, 3],
)


def test_names_and_order_leave_no_trace() -> None:
    first, second = canonical(plain()), canonical(other(unused=True))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def reshaped(item: onnx.ModelProto, *shapes: list[int]) -> onnx.ModelProto:
    """The same with a reshape to each of `shapes`, one after the other, between `sum` and `embedding`."""
    nodes = list(item.graph.node)
    relu = next(node for node in nodes if node.op_type == "Relu")
    before = relu.input[0]
    for number, shape in enumerate(shapes):
        target, after = f"shape_{number}", f"reshaped_{number}"
        item.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), target))
        nodes.insert(nodes.index(relu), helper.make_node("Reshape", [before, target], [after]))
        before = after
    relu.input[0] = before
    del item.graph.node[:]
    item.graph.node.extend(nodes)
    onnx.checker.check_model(item, full_check=True)
    return item


def test_a_reshape_to_the_shape_that_was_there_leaves_no_trace() -> None:
    expected = canonical(plain()).SerializeToString(deterministic=True)
    for shapes in ([[-1, 2]], [[-1, 2], [-1, 2]]):
        assert canonical(reshaped(plain(), *shapes)).SerializeToString(deterministic=True) == expected


def test_a_reshape_that_changes_something_stays() -> None:
    kept = canonical(reshaped(plain(), [2, -1], [-1, 2]))
    assert [node.op_type for node in kept.graph.node].count("Reshape") == 2


def test_another_weight_is_another_file() -> None:
    changed = plain()
    changed.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([1, 3], np.float32), "a"))
    assert canonical(changed).SerializeToString() != canonical(plain()).SerializeToString()


def test_it_computes_what_it_computed() -> None:
    image = np.array([[1, 2], [250, 0]], np.uint8)
    names = ["probabilities", "heatmap", "embedding"]
    answers = []
    for item in (other(), canonical(other())):
        onnx.checker.check_model(item, full_check=True)
        session = onnxruntime.InferenceSession(item.SerializeToString(), providers=["CPUExecutionProvider"])
        answers.append(session.run(names, {"image": image}))
    for before, after in zip(*answers, strict=True):
        np.testing.assert_array_equal(before, after)


def test_open_axis_is_called_batch_and_outputs_stand_in_the_contracts_order() -> None:
    graph = canonical(other()).graph
    assert [value.name for value in graph.output] == ["probabilities", "heatmap", "embedding"]
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
