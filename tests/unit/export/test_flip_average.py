"""Mirror images added to a graph are those that NumPy makes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from pipelines.export.canonical import canonical
from pipelines.export.flip_average import add_mirrors, both

IMAGES = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)


def shown() -> onnx.ModelProto:
    """A graph whose outputs are its input as float32: what the network behind the mirrors is given."""
    names = ["probabilities", "heatmap", "embedding"]
    cast = helper.make_node("Cast", ["image"], ["number"], to=onnx.TensorProto.FLOAT)
    outputs = [helper.make_node("Relu", ["number"], [name]) for name in names]
    sizes = ["unk__1", 3, 4, 3]
    graph = helper.make_graph(
        [cast, *outputs],
        "graph",
        [helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, sizes)],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes) for name in names],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_pictures_come_first_then_their_mirror_images() -> None:
    got = both(IMAGES)
    assert got.shape == (4, 3, 4, 3)
    assert got.dtype == np.uint8
    for index in range(2):
        np.testing.assert_array_equal(got[index], IMAGES[index])
        for column in range(4):
            np.testing.assert_array_equal(got[2 + index, :, column], IMAGES[index, :, 3 - column])


def test_graph_makes_the_same_of_a_batch_of_any_size() -> None:
    model = shown()
    add_mirrors(model)
    model = canonical(model)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 3, 4, 3]
    for images in (IMAGES, IMAGES[:1]):
        (got,) = session.run(["embedding"], {"image": images})
        np.testing.assert_array_equal(got, both(images))
