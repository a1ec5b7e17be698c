"""What every peer does with a picture: decode, resize, ONNX Runtime with one thread; the same code for all.

It stands alone, since it runs in environments that have nothing of this project but NumPy, OpenCV and ONNX
Runtime. Its answers are compared with this project's own before anything is timed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import onnxruntime

MODEL_VARIABLE = "MIEN_PEER_MODEL"
"""Environment variable with the path of the ONNX file."""


class Classifier:
    """One session with one thread: there are as many workers as cores."""

    def __init__(self, path: str | None = None) -> None:
        cv2.setNumThreads(1)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            path or os.environ[MODEL_VARIABLE], options, providers=["CPUExecutionProvider"]
        )
        self._side_px = int(self._session.get_inputs()[0].shape[1])
        metadata = self._session.get_modelmeta().custom_metadata_map
        self._classes = next(
            contract["classes"]
            for contract in map(json.loads, filter(_is_object, metadata.values()))
            if "classes" in contract
        )

    def read(self, content: bytes) -> Any:
        """The picture of a file as the network takes it: uint8 [side, side, 3], RGB."""
        return self.resized(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR))

    def resized(self, image: Any) -> Any:
        """A picture or a part of one, uint8 [h, w, 3] BGR, as the network takes it."""
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return cv2.resize(image, (self._side_px, self._side_px), interpolation=cv2.INTER_AREA)

    def answers(self, images: Sequence[Any]) -> list[dict[str, Any]]:
        """The emotion and the probabilities of each picture that was read."""
        batch = np.stack(images)
        (rows,) = self._session.run(["probabilities"], {"image": batch})
        return [self._answer(row.tolist()) for row in rows]

    def classify(self, content: bytes) -> dict[str, Any]:
        """The answer for one file."""
        return self.answers([self.read(content)])[0]

    def _answer(self, row: Sequence[float]) -> dict[str, Any]:
        probabilities = dict(zip(self._classes, row, strict=True))
        return {"emotion": max(probabilities, key=probabilities.__getitem__), "probabilities": probabilities}


def _is_object(text: str) -> bool:
    return text.startswith("{")
