"""A model is one file: a graph that names another file in any part is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import serving
from serving.inference.sessions import load_problem, open_session

SECRET = b"abcdefgh"
OPSET = helper.make_opsetid("", 18)
OUTPUT = helper.make_tensor_value_info("y", TensorProto.UINT8, [len(SECRET)])


def outside(location: str, name: str = "w") -> onnx.TensorProto:
    """A tensor whose values lie in another file."""
    tensor = onnx.TensorProto(
        name=name,
        data_type=TensorProto.UINT8,
        dims=[len(SECRET)],
        data_location=TensorProto.EXTERNAL,
    )
    tensor.external_data.add(key="location", value=location)
    return tensor


def initializer(location: str) -> onnx.GraphProto:
    node = helper.make_node("Identity", ["w"], ["y"])
    return helper.make_graph([node], "g", [], [OUTPUT], [outside(location)])


def constant(location: str) -> onnx.GraphProto:
    node = helper.make_node("Constant", [], ["y"], value=outside(location))
    return helper.make_graph([node], "g", [], [OUTPUT])


def subgraph(location: str) -> onnx.GraphProto:
    inner = helper.make_tensor_value_info("z", TensorProto.UINT8, [len(SECRET)])
    branch = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["z"])], "b", [], [inner], [outside(location)]
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    return helper.make_graph([node], "g", [], [OUTPUT], [numpy_helper.from_array(np.array(True), "c")])


def sparse(location: str) -> onnx.GraphProto:
    indices = numpy_helper.from_array(np.arange(len(SECRET)), "i")
    tensor = helper.make_sparse_tensor(outside(location), indices, [len(SECRET)])
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [OUTPUT])
    graph.sparse_initializer.append(tensor)
    return graph


def called(location: str) -> onnx.GraphProto:
    del location
    return helper.make_graph([helper.make_node("F", [], ["y"], domain="d")], "g", [], [OUTPUT])


def model(make: Callable[[str], onnx.GraphProto], location: str) -> bytes:
    functions = []
    if make is called:
        node = helper.make_node("Constant", [], ["y"], value=outside(location))
        functions = [helper.make_function("d", "F", [], ["y"], [node], [OPSET])]
    made = helper.make_model(
        make(location),
        opset_imports=[OPSET, helper.make_opsetid("d", 1)],
        ir_version=10,
        functions=functions,
    )
    return bytes(made.SerializeToString())


GRAPHS = [initializer, constant, subgraph, sparse, called]
PLACES = ["secret.txt", "./secret.txt", "../secret.txt", "below/secret.txt", "{}/secret.txt"]


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("make", GRAPHS, ids=lambda make: make.__name__)
def test_external_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[str], onnx.GraphProto], where: str
) -> None:
    inside = tmp_path / "cwd"
    for folder in (tmp_path, inside, inside / "below"):
        folder.mkdir(exist_ok=True)
        (folder / "secret.txt").write_bytes(SECRET)
    monkeypatch.chdir(inside)
    with pytest.raises(Exception, match=r".") as caught:
        open_session(model(make, where.format(tmp_path)), threads=1)
    if make is not sparse:
        assert "external data" in load_problem(caught.value)


@pytest.mark.parametrize("make", GRAPHS, ids=lambda make: make.__name__)
def test_without_the_refusal_these_graphs_read_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[str], onnx.GraphProto]
) -> None:
    (tmp_path / "secret.txt").write_bytes(SECRET)
    monkeypatch.chdir(tmp_path)
    session = onnxruntime.InferenceSession(model(make, "secret.txt"), providers=["CPUExecutionProvider"])
    assert bytes(session.run(None, {})[0]) == SECRET


def test_nothing_else_makes_sessions() -> None:
    root = Path(serving.__file__).parents[1]
    makers = {
        path.relative_to(root).as_posix()
        for package in ("serving", "pipelines", "flows")
        for path in (root / package).rglob("*.py")
        if re.search(r"\bInferenceSession\(|onnxruntime\.InferenceSession\b(?!`)", path.read_text("utf-8"))
    }
    assert makers == {"serving/inference/sessions.py"}
