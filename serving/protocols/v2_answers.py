"""What the Open Inference Protocol answers: metadata, and predictions, as JSON or with bytes behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from serving.contract import IMAGE, OUTPUTS, ModelContract
from serving.inference.onnx_classifier import Prediction
from serving.protocols import binary, tensors
from serving.protocols.v2 import BYTES, FP32, PLATFORM, UINT8, InferRequest, Output


@dataclass(frozen=True, kw_only=True, slots=True)
class Answerer:
    """The model that answered."""

    name: str
    version: str
    sha256: str
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """A body, ready to be sent."""

    body: bytes
    header_length: int | None
    """Bytes of its JSON; None when all of it is JSON."""


def write_answer(
    request: InferRequest, prediction: Prediction, model: Answerer, *, ids: Sequence[str]
) -> Encoded:
    """Encode an answer.

    Args:
        request: what was asked for.
        prediction: of its pictures.
        model: that gave it.
        ids: of the observations, one for each picture; empty when nothing was recorded.
    """
    outputs: list[dict[str, Any]] = []
    buffers: list[bytes | memoryview] = []
    for wanted in request.outputs:
        output, buffer = _output(wanted, getattr(prediction, wanted.name), model.classes)
        outputs.append(output)
        if buffer is not None:
            buffers.append(buffer)
    body: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if request.id is not None:
        body["id"] = request.id
    # Parameters are texts, numbers or booleans in this protocol, no lists.
    body["parameters"] = {"sha256": model.sha256, **({"ids": ",".join(ids)} if ids else {})}
    body["outputs"] = outputs
    header = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    if not any(output.binary for output in request.outputs):
        return Encoded(body=header, header_length=None)
    return Encoded(body=binary.join(header, buffers), header_length=len(header))


def _output(
    wanted: Output, array: NDArray[np.float32], classes: Sequence[str]
) -> tuple[dict[str, Any], bytes | memoryview | None]:
    """The output's JSON, and its bytes when they are to follow."""
    if wanted.classification:
        rows = [_ranked(row, classes, wanted.classification) for row in array]
        output = {"name": wanted.name, "datatype": BYTES, "shape": [len(rows), len(rows[0])]}
        flat: Any = [text for row in rows for text in row]
        buffer: bytes | memoryview = binary.texts(flat) if wanted.binary else b""
    else:
        output = {"name": wanted.name, "datatype": FP32, "shape": list(array.shape)}
        ordered = np.ascontiguousarray(array, "<f4")
        flat, buffer = ordered.reshape(-1), ordered.reshape(-1).view(np.uint8).data
    if not wanted.binary:
        return {**output, "data": flat}, None
    return {**output, "parameters": {"binary_data_size": len(buffer)}}, buffer


def _ranked(row: NDArray[np.float32], classes: Sequence[str], count: int) -> list[str]:
    """The most probable classes as Triton writes them, `value:index:label`."""
    best = np.argsort(-row, kind="stable")[:count]
    return [f"{row[index]:f}:{index}:{classes[index]}" for index in best]


def server_metadata(*, name: str, version: str, extensions: Sequence[str]) -> dict[str, Any]:
    """What the server is."""
    return {"name": name, "version": version, "extensions": list(extensions)}


def model_metadata(model: Answerer, contract: ModelContract, sample: Prediction) -> dict[str, Any]:
    """What the model takes and gives.

    Args:
        model: its name and version.
        contract: its own.
        sample: any answer of it, for the sizes that the contract leaves to the graph.
    """
    spec = contract.input
    shapes = {name: [-1, *getattr(sample, name).shape[1:]] for name in OUTPUTS}
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": PLATFORM,
        "inputs": [_tensor(IMAGE, UINT8, [-1, spec.height, spec.width, tensors.CHANNELS])],
        "outputs": [_tensor(name, FP32, shape) for name, shape in shapes.items()],
    }


def _tensor(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}
