"""Open Inference Protocol, version 2: its JSON objects, with Triton's binary data and classification.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
https://github.com/triton-inference-server/server/tree/main/docs/protocol

    request = read_request(body, header_length, spec, most=64)
    body, header_length = write_answer(request, prediction, answerer, ids=())
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import orjson
from numpy.typing import NDArray

from serving.contract import IMAGE, NOVELTY, OUTPUTS, PROBABILITIES, Image, InputSpec, ModelContract
from serving.errors.requests import BadRequest
from serving.inference.onnx_classifier import Prediction
from serving.protocols import bodies, tensors

EXTENSIONS = ("binary_tensor_data", "classification", "parameters")
UINT8, FP32, BYTES = "UINT8", "FP32", "BYTES"
PLATFORM = "onnxruntime_onnx"
"""Triton's name of what runs the model."""
_NAMES = (*OUTPUTS, NOVELTY)
"""Outputs that a model can have; `novelty` is one that some have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """One tensor that is asked for."""

    name: str
    binary: bool
    """As bytes behind the JSON."""
    classification: int = 0
    """How many classes, as texts `value:index:label`; 0 for the tensor itself."""
    asked: bool = True
    """Whether the client named it; of a client that names none, a model answers what it has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InferRequest:
    """What a client asks for."""

    id: str | None
    """The client's own, given back."""
    images: Image
    """uint8 [n, H, W, 3], n ≥ 1; may be read-only."""
    outputs: tuple[Output, ...]
    """In the order of the answer."""
    record: bool
    """Whether the answers become observations; the parameter `record`."""


def read_request(body: bytes, header_length: str | None, spec: InputSpec, *, most: int) -> InferRequest:
    """Read the body of an infer request.

    Args:
        body: not compressed.
        header_length: bytes of the JSON; None without the header, `0` when the body is the image's bytes.
        spec: of the model that is to answer.
        most: pictures in one request.

    Raises:
        BadRequest: not the protocol's, or not the model's tensor.
        TooManyPictures: more than `most`.
    """
    header, data = tensors.split(body, header_length)
    if not header and header_length is not None:
        return _read_raw(data, spec, most)
    request = tensors.load(header, spec, most=most)
    parameters = _parameters(request, "the request")
    return InferRequest(
        id=_id(request),
        images=_read_input(request, data, spec, most),
        outputs=_read_outputs(request, binary_default=_flag(parameters, "binary_data_output", default=False)),
        record=_flag(parameters, "record", default=True),
    )


def _read_raw(data: memoryview, spec: InputSpec, most: int) -> InferRequest:
    """A body that is the only input's bytes: the number of pictures follows from their count."""
    size = tensors.picture_bytes(spec)
    count, rest = divmod(len(data), size)
    if rest:
        raise BadRequest(
            f"the body has {len(data)} bytes, expected a multiple of {size}: {tensors.shape_text(spec)}"
        )
    tensors.check_count(count, most=most)
    outputs = tuple(Output(name=name, binary=False, asked=False) for name in _NAMES)
    return InferRequest(id=None, images=tensors.from_bytes(data, spec, count), outputs=outputs, record=True)


def check_filter(body: bytes) -> None:
    """Check the body of an index request; it may be empty.

    Raises:
        BadRequest: not a JSON object, or `ready` is not a boolean.
    """
    if not body:
        return
    try:
        wanted = orjson.loads(body)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON ({error}); expected an object or nothing") from error
    if not isinstance(wanted, dict):
        raise BadRequest(f"the body is {tensors.json_type(wanted)}, expected an object or nothing")
    _flag(wanted, "ready", default=False)


def _id(request: Mapping[str, Any]) -> str | None:
    id = request.get("id")
    if id is not None and not isinstance(id, str):
        raise BadRequest(f"id is {tensors.json_type(id)}, expected a text")
    return id


def _read_input(request: Mapping[str, Any], data: memoryview, spec: InputSpec, most: int) -> Image:
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        got = f"{len(inputs)} inputs" if isinstance(inputs, list) else f"inputs: {tensors.json_type(inputs)}"
        raise BadRequest(f"the request has {got}, expected one: {IMAGE!r}, {tensors.shape_text(spec)}")
    image = inputs[0]
    if image.get("name") != IMAGE:
        raise BadRequest(f"the input's name is {_brief(image.get('name'))}, expected {IMAGE!r}")
    if image.get("datatype") != UINT8:
        raise BadRequest(f"the datatype of {IMAGE!r} is {_brief(image.get('datatype'))}, expected {UINT8!r}")
    count = _count(image.get("shape"), spec)
    tensors.check_count(count, most=most)
    parameters = _parameters(image, f"input {IMAGE!r}")
    if "shared_memory_region" in parameters:
        raise BadRequest("shared memory is not supported; send the tensor with the request")
    size = parameters.get("binary_data_size")
    if size is None:
        if data:
            raise BadRequest(f"{len(data)} bytes follow the JSON, but no input has binary_data_size")
        return tensors.from_values(image.get("data"), spec, count)
    if type(size) is not int or size != len(data):
        raise BadRequest(f"binary_data_size is {_brief(size)}, but {len(data)} bytes follow the JSON")
    if image.get("data") is not None:
        raise BadRequest(f"input {IMAGE!r} has both data and binary_data_size, expected one of them")
    return tensors.from_bytes(data, spec, count)


def _count(shape: object, spec: InputSpec) -> int:
    wanted = [spec.height, spec.width, tensors.CHANNELS]
    if (
        not isinstance(shape, list)
        or not all(type(side) is int for side in shape)
        or len(shape) != 4
        or shape[1:] != wanted
        or shape[0] < 0
    ):
        raise BadRequest(f"the shape of {IMAGE!r} is {_brief(shape)}, expected [n, {str(wanted)[1:]}")
    return int(shape[0])


def _read_outputs(request: Mapping[str, Any], *, binary_default: bool) -> tuple[Output, ...]:
    wanted = request.get("outputs")
    if wanted is None or wanted == []:
        return tuple(Output(name=name, binary=binary_default, asked=False) for name in _NAMES)
    if not isinstance(wanted, list):
        raise BadRequest(f"outputs is {tensors.json_type(wanted)}, expected a list")
    # One beyond what there is can only be a repetition, however long the list is.
    outputs = tuple(_read_output(output, binary_default) for output in wanted[: len(_NAMES) + 1])
    if len({output.name for output in outputs}) < len(outputs):
        raise BadRequest("an output is asked for twice, expected each name once")
    return outputs


def _read_output(output: object, binary_default: bool) -> Output:
    if not isinstance(output, dict) or output.get("name") not in _NAMES:
        name = output.get("name") if isinstance(output, dict) else output
        raise BadRequest(f"the output {_brief(name)} is asked for, expected some of {', '.join(_NAMES)}")
    name = output["name"]
    parameters = _parameters(output, f"output {name!r}")
    classification = parameters.get("classification", 0)
    if type(classification) is not int or classification < 0:
        raise BadRequest(f"classification is {_brief(classification)}, expected a number of classes")
    if classification and name != PROBABILITIES:
        raise BadRequest(f"classification is asked for of {name!r}, expected of {PROBABILITIES!r}")
    return Output(
        name=name,
        binary=_flag(parameters, "binary_data", default=binary_default),
        classification=classification,
    )


def _parameters(holder: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise BadRequest(f"the parameters of {what} are {tensors.json_type(parameters)}, expected an object")
    return parameters


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise BadRequest(f"{name} is {_brief(value)}, expected true or false")
    return value


def _brief(value: object) -> str:
    if isinstance(value, str):
        return repr(value[:40])
    if isinstance(value, list):
        return "[" + ", ".join(map(_brief, value[:8])) + (", …]" if len(value) > 8 else "]")
    return str(value)[:40] if type(value) in (int, float) else tensors.json_type(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelInfo:
    """The model that answered."""

    name: str
    version: str
    sha256: str
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedResponse:
    """A body, ready to be sent."""

    body: bytes
    header_length: int | None
    """Bytes of its JSON; None when all of it is JSON."""


class _RepeatedId(TypedDict, total=False):
    id: str


def write_answer(
    request: InferRequest, prediction: Prediction, model: ModelInfo, *, ids: Sequence[str]
) -> EncodedResponse:
    """Encode an answer.

    Args:
        request: what was asked for.
        prediction: of its pictures.
        model: that gave it.
        ids: of the observations, one for each picture; empty when nothing was recorded.

    Raises:
        BadRequest: the client asked for an output that the model does not have.
    """
    outputs: list[bodies.OutputTensor] = []
    buffers: list[bytes | memoryview] = []
    arrays = prediction.arrays()
    for wanted in request.outputs:
        if wanted.name not in arrays:
            if wanted.asked:
                raise BadRequest(
                    f"the output {wanted.name!r} is asked for, expected some of {', '.join(arrays)}: "
                    "those that this model has"
                )
            continue
        output, buffer = _output(wanted, arrays[wanted.name], model.classes)
        outputs.append(output)
        if buffer is not None:
            buffers.append(buffer)
    repeated: _RepeatedId = {"id": request.id} if request.id is not None else {}
    body: bodies.InferAnswer = {
        "model_name": model.name,
        "model_version": model.version,
        **repeated,
        # Parameters are texts, numbers or booleans in this protocol, no lists.
        "parameters": {"sha256": model.sha256, **({"ids": ",".join(ids)} if ids else {})},
        "outputs": outputs,
    }
    header = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    if not any(output.binary for output in request.outputs):
        return EncodedResponse(body=header, header_length=None)
    return EncodedResponse(body=tensors.join(header, buffers), header_length=len(header))


def _output(
    wanted: Output, array: NDArray[np.float32], classes: Sequence[str]
) -> tuple[bodies.OutputTensor, bytes | memoryview | None]:
    """The output's JSON, and its bytes when they are to follow."""
    output: bodies.OutputTensor
    if wanted.classification:
        rows = [_ranked(row, classes, wanted.classification) for row in array]
        output = {"name": wanted.name, "datatype": "BYTES", "shape": [len(rows), len(rows[0])]}
        flat: Any = [text for row in rows for text in row]
        buffer: bytes | memoryview = tensors.texts(flat) if wanted.binary else b""
    else:
        output = {"name": wanted.name, "datatype": "FP32", "shape": list(array.shape)}
        ordered = np.ascontiguousarray(array, "<f4")
        flat, buffer = ordered.reshape(-1), ordered.reshape(-1).view(np.uint8).data
    if not wanted.binary:
        return {**output, "data": flat}, None
    return {**output, "parameters": {"binary_data_size": len(buffer)}}, buffer


def _ranked(row: NDArray[np.float32], classes: Sequence[str], count: int) -> list[str]:
    """The most probable classes as Triton writes them, `value:index:label`."""
    best = np.argsort(-row, kind="stable")[:count]
    return [f"{row[index]:f}:{index}:{classes[index]}" for index in best]


def model_metadata(model: ModelInfo, contract: ModelContract, sample: Prediction) -> bodies.ModelMetadata:
    """What the model takes and gives.

    Args:
        model: its name and version.
        contract: its own.
        sample: any answer of it, for the sizes that the contract leaves to the graph.
    """
    spec = contract.input
    shapes = {name: [-1, *array.shape[1:]] for name, array in sample.arrays().items()}
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": PLATFORM,
        "inputs": [_tensor(IMAGE, UINT8, [-1, spec.height, spec.width, tensors.CHANNELS])],
        "outputs": [_tensor(name, FP32, shape) for name, shape in shapes.items()],
    }


def _tensor(name: str, datatype: str, shape: list[int]) -> bodies.TensorMetadata:
    return {"name": name, "datatype": datatype, "shape": shape}
