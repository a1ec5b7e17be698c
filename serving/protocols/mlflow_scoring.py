"""MLflow's scoring protocol: the JSON of `/invocations`, and its answer.

    {"inputs": [PICTURE, …]}                      {"inputs": {"image": [PICTURE, …]}}
    {"instances": [PICTURE, …]}                   {"instances": [{"image": PICTURE}, …]}
    {"dataframe_records": [{"image": PICTURE}, …]}
    {"dataframe_split": {"columns": ["image"], "data": [[PICTURE], …]}}

A picture is [H][W][3] of whole numbers from 0 to 255, as the registered model's signature says, or the same
as a flat list (in data frames MLflow's own server takes only that). It may also be a JPEG, PNG, WebP or BMP
file in base64; it is then looked at as `/detect` does. `mlflow models serve` does not know files.
https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import orjson

from serving.contract import IMAGE, Image, InputSpec
from serving.errors.requests import BadRequest, PayloadTooLarge
from serving.inference.onnx_classifier import Prediction
from serving.protocols import bodies, tensors

FORMATS = ("inputs", "instances", "dataframe_split", "dataframe_records")
_SPLIT_KEYS = frozenset({"columns", "data", "index"})
Faces = Literal["auto", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringRequest:
    """What a client asks for."""

    pictures: tuple[Image | bytes, ...]
    """Each uint8 [H, W, 3], or the bytes of a picture's file; at least one."""
    faces: Faces
    """For files: whether faces are looked for; the parameter `faces`."""
    record: bool
    """Whether the answers become observations; the parameter `record`."""


def read_request(body: bytes, spec: InputSpec, *, most: int, max_file_bytes: int) -> ScoringRequest:
    """Read the body of an invocation.

    Args:
        body: JSON.
        spec: of the model that is to answer.
        most: pictures in one request.
        max_file_bytes: of one picture's file.

    Raises:
        BadRequest: not the protocol's, or not the model's tensor.
        TooManyPictures: more than `most`.
        PayloadTooLarge: a file is too large.
    """
    request = tensors.load(body, spec, most=most)
    given = [name for name in FORMATS if name in request]
    # As in MLflow's server, other keys are passed over, and so are other columns.
    if len(given) != 1:
        raise BadRequest(f"the body has {', '.join(given) or 'none'} of {', '.join(FORMATS)}, expected one")
    cells = _cells(given[0], request[given[0]], most)
    faces, record = _read_params(request.get("params"))
    pictures = [_picture(cell, spec, index, max_file_bytes) for index, cell in enumerate(cells)]
    return ScoringRequest(pictures=tuple(pictures), faces=faces, record=record)


def write_answer(prediction: Prediction) -> bytes:
    """The answer, named as the graph's outputs; as `mlflow models serve` gives it for a tensor."""
    predictions: bodies.NamedOutputs = {
        "probabilities": prediction.probabilities,
        "heatmap": prediction.heatmap,
        "embedding": prediction.embedding,
    }
    if prediction.novelty is not None:
        predictions["novelty"] = prediction.novelty
    body: bodies.Predictions = {"predictions": predictions}
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def _cells(name: str, value: object, most: int) -> list[Any]:
    """The pictures as they were sent, in order."""
    if name == "dataframe_split":
        cells = _split(value)
    elif name == "dataframe_records":
        cells = _rows(name, value)
    elif name == "inputs" and isinstance(value, dict):
        cells = _listed("inputs.image", _only(value, name))
    else:
        cells = _listed(name, value)
        if cells and isinstance(cells[0], dict):
            cells = _rows(name, cells)
    tensors.check_count(len(cells), most=most)
    return cells


def _rows(name: str, value: object) -> list[Any]:
    return [_only(row, f"a row of {name}") for row in _listed(name, value)]


def _split(value: object) -> list[Any]:
    if not isinstance(value, dict) or not {"columns", "data"} <= value.keys() <= _SPLIT_KEYS:
        raise BadRequest("dataframe_split is not an object with columns, data and perhaps index")
    columns = _listed("dataframe_split.columns", value["columns"])
    if columns.count(IMAGE) != 1:
        raise BadRequest(
            f"dataframe_split.columns has not exactly one {IMAGE!r}, as the model's input is called"
        )
    rows = _listed("dataframe_split.data", value["data"])
    if not all(isinstance(row, list) and len(row) == len(columns) for row in rows):
        raise BadRequest("a row of dataframe_split.data has another length than columns")
    at = columns.index(IMAGE)
    return [row[at] for row in rows]


def _listed(what: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise BadRequest(f"{what} is {tensors.json_type(value)}, expected a list of pictures")
    return value


def _only(row: object, what: str) -> Any:
    if not isinstance(row, dict) or IMAGE not in row:
        raise BadRequest(f"{what} has no {IMAGE!r}, as the model's input is called")
    return row[IMAGE]


def _picture(cell: object, spec: InputSpec, index: int, max_file_bytes: int) -> Image | bytes:
    if not isinstance(cell, str):
        return tensors.nested(cell, spec, index)
    # Three bytes are four characters; what is too long is not decoded first.
    if len(cell) // 4 * 3 > max_file_bytes + 3:
        raise PayloadTooLarge(limit=max_file_bytes)
    try:
        data = binascii.a2b_base64(cell.encode("ascii"), strict_mode=True)
    except ValueError as error:
        raise BadRequest(f"picture {index} is a text but no base64 ({error})") from error
    if len(data) > max_file_bytes:
        raise PayloadTooLarge(limit=max_file_bytes)
    return data


def _read_params(params: object) -> tuple[Faces, bool]:
    if params is None:
        return "auto", True
    if not isinstance(params, Mapping):
        raise BadRequest(f"params is {tensors.json_type(params)}, expected an object")
    faces, record = params.get("faces", "auto"), params.get("record", True)
    if faces not in ("auto", "none"):
        raise BadRequest("params.faces is neither 'auto' nor 'none'")
    if not isinstance(record, bool):
        raise BadRequest("params.record is neither true nor false")
    return cast(Faces, faces), record
