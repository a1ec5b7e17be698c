"""MLflow's scoring protocol, as in `mlflow models serve`: /invocations, /ping, /health, /version."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version as installed

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from serving.contract import InputSpec
from serving.detection.responses import ModelReference
from serving.detection.tensors import TensorRequest
from serving.http.auth import client_id_of, mark_canary
from serving.http.endpoint import ACCESS, BODY, Answer, Dependencies, Routes, ref
from serving.http.problems import ScoringProblem
from serving.http.request.body import read_body
from serving.inference.model_slot import LiveModel
from serving.inference.onnx_classifier import Prediction
from serving.protocols import bodies, mlflow_scoring, tensors
from serving.settings import Settings

JSON = "application/json"

_TEXT = {"text/plain": {"schema": {"type": "string"}}}
_LIVE = Answer(text="A model is live.", content=_TEXT)
_PREDICTIONS = Answer(text="Predictions for every picture, in order.", model=bodies.Predictions)

routes = Routes("mlflow scoring", problem=ScoringProblem)


def _batch_bytes(dependencies: Dependencies) -> int:
    # May contain picture files in base64, whose size does not depend on the model.
    return dependencies.settings.max_batch_bytes


@routes.add(
    "POST",
    "/invocations",
    max_bytes=_batch_bytes,
    answer=_PREDICTIONS,
    problems=(*ACCESS, *BODY, 422, 503),
    body={"required": True, "content": {JSON: {"schema": ref("Invocation")}}},
)
async def invocations(request: Request) -> Response:
    """Run the network on pictures that are JSON tensors or files in base64."""
    dependencies: Dependencies = request.state.dependencies
    live = dependencies.slot.require()
    body = await read_body(request, expected=(JSON,))
    exchange = _Invocation(body, dependencies.settings)
    images = exchange.likely_images(live.contract.input)
    answered = await dependencies.tensors.answer(
        exchange, live=live, images=images, subject=client_id_of(request)
    )
    dependencies.metrics.tensors(answered)
    headers = _headers(answered.model, answered.ids)
    response = Response(answered.answer, media_type=JSON, headers=headers)
    return mark_canary(response, canary=answered.model.canary)


@routes.add("GET", "/ping", scope="open", logged=False, answer=_LIVE, problems=(503,))
@routes.add("GET", "/health", scope="open", logged=False, answer=_LIVE, problems=(503,))
async def ping(request: Request) -> Response:
    """200 when a model is live, 503 with the reason otherwise."""
    dependencies: Dependencies = request.state.dependencies
    dependencies.slot.require()
    return PlainTextResponse("\n")


@routes.add("GET", "/version", answer=Answer(text="MLflow's version.", content=_TEXT), problems=ACCESS)
async def version(request: Request) -> Response:
    """The MLflow version whose protocol is served."""
    return PlainTextResponse(_mlflow_version())


class _Invocation:
    """See `serving.detection.tensors.Exchange`."""

    def __init__(self, body: bytes, settings: Settings) -> None:
        self._body = body
        self._settings = settings

    def likely_images(self, spec: InputSpec) -> int:
        """Estimate the number of pictures in the body."""
        return tensors.likely_count(len(self._body), spec, most=self._settings.max_tensor_images)

    def read(self, spec: InputSpec) -> TensorRequest:
        settings = self._settings
        request = mlflow_scoring.read_request(
            self._body, spec, most=settings.max_tensor_images, max_file_bytes=settings.max_bytes
        )
        return TensorRequest(pictures=request.pictures, faces=request.faces, record=request.record)

    def write(self, live: LiveModel, prediction: Prediction, ids: Sequence[str]) -> bytes:
        return mlflow_scoring.write_answer(prediction)


def _headers(model: ModelReference, ids: Sequence[str]) -> dict[str, str]:
    """Return the model and the ids as headers: MLflow's body has no fields for them."""
    headers = {"mien-model": f"{model.name}/{model.version}", "mien-sha256": model.sha256}
    if ids:
        headers["mien-ids"] = ",".join(ids)
    # Names may contain characters that are not allowed in headers.
    return {name: value for name, value in headers.items() if value.isascii() and value.isprintable()}


@cache
def _mlflow_version() -> str:
    # Read from the installed package's metadata: importing MLflow takes seconds and 200 MiB.
    return installed("mlflow")
