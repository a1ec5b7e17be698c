"""The JSON of the standard protocols' answers, as types: `v2` and `mlflow_scoring` write them.

The bodies of requests have no types: their tensors are checked as they are read, value by value.
"""

from __future__ import annotations

from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,  # pydantic takes typing's own from Python 3.12 on
)

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from serving.contract import NOVELTY, OUTPUTS

Values = Annotated[Any, WithJsonSchema({"type": "array"})]
"""A list, or a NumPy array that is written as one."""
Rows = Annotated[Any, WithJsonSchema({"type": "array", "items": {"type": "array"}})]


class ServerMetadata(TypedDict):
    """Name, version and extensions of the server."""

    name: str
    version: str
    extensions: list[str]


class Live(TypedDict):
    """Whether the process runs."""

    live: bool


class Ready(TypedDict):
    """Whether a model is live."""

    ready: bool


class ModelReady(Ready):
    """Whether the named model is live."""

    name: str


class RepositoryModel(TypedDict):
    """A model and its state."""

    name: str
    version: str
    state: str
    reason: str


class TensorMetadata(TypedDict):
    """A tensor of a model; a size of -1 means any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(TypedDict):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class BinarySize(TypedDict):
    """Length of a tensor's bytes after the JSON, in place of `data`."""

    binary_data_size: int


class OutputTensor(TypedDict):
    """One tensor of an answer."""

    name: Annotated[str, Field(json_schema_extra={"enum": [*OUTPUTS, NOVELTY]})]
    datatype: Literal["FP32", "BYTES"]
    shape: list[int]
    data: NotRequired[Values]
    parameters: NotRequired[BinarySize]


class InferAnswer(TypedDict):
    """The outputs, and the model that gave them."""

    model_name: str
    model_version: str
    id: NotRequired[str]
    parameters: Annotated[
        dict[str, str],
        Field(description="`sha256` of the model; `ids` of the observations, separated by commas."),
    ]
    outputs: list[OutputTensor]


_ANSWER: InferAnswer = {
    "model_name": "emotion",
    "model_version": "3",
    "id": "42",
    "parameters": {"sha256": "5e" * 32, "ids": "019ab0de4f5c7c3a9d0b5e6f7a8b9c0d"},
    "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [1, 3], "data": [0.009, 0.941, 0.05]}],
}
EXAMPLES = {"InferAnswer": _ANSWER}
"""Examples for the OpenAPI document, by type."""


class NamedOutputs(TypedDict):
    """The model's outputs, with one row for each picture."""

    probabilities: Rows
    heatmap: Rows
    embedding: Rows
    novelty: NotRequired[Rows]


class Predictions(TypedDict):
    """The answer of MLflow's scoring protocol."""

    predictions: NamedOutputs
