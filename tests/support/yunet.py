"""Files that OpenCV takes for YuNet: the official one is not in the repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# What `cv2.FaceDetectorYN` asks for, at each stride: score, objectness, box and five landmarks.
STRIDES = (8, 16, 32)
OUTPUTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


LIGHT_PX = 32
"""Side of what a YuNet of bright cells takes for a face."""


def write_blind_yunet(path: Path) -> Path:
    """Write a file that finds no face: zero convolutions with YuNet's names and shapes."""
    return _write(path, sees_light=False)


def write_yunet_of_bright_cells(path: Path) -> Path:
    """Write a file for which a cell of 32 × 32 px is a face; its score is the mean brightness, 0 to 1."""
    return _write(path, sees_light=True)


def _write(path: Path, *, sees_light: bool) -> Path:
    nodes, weights = [], []
    for stride in STRIDES:
        for name, channels in OUTPUTS.items():
            at = f"{name}_{stride}"
            kernel = np.zeros((channels, 3, stride, stride), np.float32)
            if sees_light and stride == LIGHT_PX and name in ("cls", "obj"):
                # OpenCV's score is the root of the product of both.
                kernel[:] = 1 / (255 * kernel[0].size)
            weights += [
                numpy_helper.from_array(kernel, f"kernel_{at}"),
                numpy_helper.from_array(np.array([1, -1, channels], np.int64), f"shape_{at}"),
            ]
            nodes += [
                helper.make_node("Conv", ["input", f"kernel_{at}"], [f"map_{at}"], strides=[stride] * 2),
                helper.make_node("Transpose", [f"map_{at}"], [f"last_{at}"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"last_{at}", f"shape_{at}"], [at]),
            ]
    outputs = [
        helper.make_tensor_value_info(f"{name}_{stride}", TensorProto.FLOAT, ["batch", "cells", "values"])
        for name in OUTPUTS
        for stride in STRIDES
    ]
    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 640, 640])
    graph = helper.make_graph(nodes, "light" if sees_light else "blind", [picture], outputs, weights)
    # What OpenCV 4's importer reads.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    onnx.save(model, path)
    return path
