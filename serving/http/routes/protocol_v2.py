"""The Open Inference Protocol's HTTP side (KServe, Triton): tensors in, tensors out, of the live model.

A canary's candidate answers its share of the requests that name no version.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from serving.contract import InputSpec
from serving.detection.tensors import TensorRequest
from serving.errors.requests import NotFound
from serving.http.auth import client_id_of, mark_canary
from serving.http.endpoint import ACCESS, BODY, Answer, Dependencies, Routes, Schema, ref
from serving.http.problems import InferProblem
from serving.http.request.body import json_response, read_body
from serving.inference.model_slot import LiveModel
from serving.inference.onnx_classifier import Prediction
from serving.protocols import bodies, tensors, v2
from serving.protocols.tensors import LENGTH_HEADER, body_bytes

BINARY, JSON = "application/octet-stream", "application/json"
# Clients send JSON with its own type, without a type, or with the type of JSON followed by bytes.
_KINDS = (BINARY, JSON, "")


def _path(name: str, description: str) -> Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "description": description,
    }


_NAME = _path("name", "Name of the live model, see /model.")
_VERSION = _path("version", "Version of the live model.")
_LENGTH: Schema = {
    "name": LENGTH_HEADER,
    "in": "header",
    "schema": {"type": "integer", "minimum": 0},
    "description": "Bytes of the JSON before the tensor's bytes; 0: the body has only the tensor's bytes.",
}
_BINARY_CONTENT: Schema = {"schema": {"type": "string", "format": "binary"}}


_INFER_BODY: Schema = {
    "required": True,
    "content": {JSON: {"schema": ref("InferRequest")}, BINARY: _BINARY_CONTENT},
}
_INDEX_BODY: Schema = {
    "content": {JSON: {"schema": {"type": "object", "properties": {"ready": {"type": "boolean"}}}}}
}
_MODEL_PROBLEMS = (*ACCESS, 404, 503)
_INFER_PROBLEMS = (*_MODEL_PROBLEMS, *BODY)


_READY = Answer(text="The model is live.", model=bodies.ModelReady)
_METADATA = Answer(text="Tensors of the model.", model=bodies.ModelMetadata)
_ANSWERED = Answer(text="The outputs.", model=bodies.InferAnswer, content={BINARY: _BINARY_CONTENT})
_LIVE = Answer(text="The process runs.", model=bodies.Live)
_ANY_READY = Answer(text="A model is live.", model=bodies.Ready)
routes = Routes("open inference protocol", problem=InferProblem)


def _tensor_bytes(dependencies: Dependencies) -> int:
    """Bytes of the largest tensor that the live model may get, at most `max_batch_bytes`."""
    live, settings = dependencies.slot.current, dependencies.settings
    if live is None:
        # The response is 503 for any body; the body is not read.
        return settings.max_batch_bytes
    return min(settings.max_batch_bytes, body_bytes(live.contract.input, most=settings.max_tensor_images))


@routes.add("GET", "/v2", answer=bodies.ServerMetadata, problems=ACCESS)
async def server(request: Request) -> Response:
    """The server's name, version and extensions."""
    return json_response(
        bodies.ServerMetadata(name="mien", version=request.app.version, extensions=[*v2.EXTENSIONS])
    )


@routes.add("GET", "/v2/health/live", scope="open", logged=False, answer=_LIVE)
async def live(request: Request) -> Response:
    """200 while the process runs, with or without a model."""
    return json_response(bodies.Live(live=True))


@routes.add("GET", "/v2/health/ready", scope="open", logged=False, answer=_ANY_READY, problems=(503,))
async def ready(request: Request) -> Response:
    """200 when a model is live, 503 with the reason otherwise."""
    dependencies: Dependencies = request.state.dependencies
    dependencies.slot.require()
    return json_response(bodies.Ready(ready=True))


@routes.add(
    "POST",
    "/v2/repository/index",
    answer=Answer(text="The live model.", model=list[bodies.RepositoryModel]),
    problems=(*ACCESS, *BODY, 503),
    body=_INDEX_BODY,
)
async def index(request: Request) -> Response:
    """List the live model, if there is one; it is always ready, so the filter `ready` changes nothing."""
    v2.check_filter(await read_body(request, expected=_KINDS))
    dependencies: Dependencies = request.state.dependencies
    current = dependencies.slot.current
    if current is None:
        return json_response([])
    identity = current.identity
    state = bodies.RepositoryModel(name=identity.name, version=identity.version, state="READY", reason="")
    return json_response([state])


@routes.add("GET", "/v2/models/{name}", answer=_METADATA, problems=_MODEL_PROBLEMS, parameters=[_NAME])
@routes.add(
    "GET",
    "/v2/models/{name}/versions/{version}",
    answer=_METADATA,
    problems=_MODEL_PROBLEMS,
    parameters=[_NAME, _VERSION],
)
async def metadata(request: Request) -> Response:
    """The model's inputs and outputs; a size of -1 means any size."""
    live = _requested_model(request)
    dependencies: Dependencies = request.state.dependencies
    sample = await dependencies.tensors.sample(live)
    return json_response(v2.model_metadata(_answerer(live), live.contract, sample))


@routes.add("GET", "/v2/models/{name}/ready", answer=_READY, problems=_MODEL_PROBLEMS, parameters=[_NAME])
@routes.add(
    "GET",
    "/v2/models/{name}/versions/{version}/ready",
    answer=_READY,
    problems=_MODEL_PROBLEMS,
    parameters=[_NAME, _VERSION],
)
async def model_ready(request: Request) -> Response:
    """200 if this model is live."""
    return json_response(bodies.ModelReady(name=_requested_model(request).identity.name, ready=True))


@routes.add(
    "POST",
    "/v2/models/{name}/infer",
    max_bytes=_tensor_bytes,
    answer=_ANSWERED,
    problems=_INFER_PROBLEMS,
    parameters=[_NAME, _LENGTH],
    body=_INFER_BODY,
)
@routes.add(
    "POST",
    "/v2/models/{name}/versions/{version}/infer",
    max_bytes=_tensor_bytes,
    answer=_ANSWERED,
    problems=_INFER_PROBLEMS,
    parameters=[_NAME, _VERSION, _LENGTH],
    body=_INFER_BODY,
)
async def infer(request: Request) -> Response:
    """Run the network on a tensor of prepared pictures, without face detection.

    Without a version in the path, a canary's candidate may answer; `model_version` and the header
    `mien-canary` say so.
    """
    live = _requested_model(request)
    dependencies: Dependencies = request.state.dependencies
    exchange = _Infer(
        await read_body(request, expected=_KINDS),
        header_length=request.headers.get(LENGTH_HEADER),
        most=dependencies.settings.max_tensor_images,
    )
    images = exchange.likely_images(live.contract.input)
    # A client that names the live version gets that version.
    subject = None if "version" in request.path_params else client_id_of(request)
    answered = await dependencies.tensors.answer(exchange, live=live, images=images, subject=subject)
    dependencies.metrics.tensors(answered)
    encoded, canary = answered.answer, answered.model.canary
    if encoded.header_length is None:
        return mark_canary(Response(encoded.body, media_type=JSON), canary=canary)
    headers = {LENGTH_HEADER: str(encoded.header_length)}
    response = Response(encoded.body, media_type=BINARY, headers=headers)
    return mark_canary(response, canary=canary)


class _Infer:
    """See `serving.detection.tensors.Exchange`."""

    def __init__(self, body: bytes, *, header_length: str | None, most: int) -> None:
        self._body = body
        self._header_length = header_length
        self._most = most
        self._request: v2.InferRequest | None = None

    def likely_images(self, spec: InputSpec) -> int:
        """Estimate the number of pictures in the body."""
        is_binary = self._header_length is not None
        return tensors.likely_count(len(self._body), spec, most=self._most, is_binary=is_binary)

    def read(self, spec: InputSpec) -> TensorRequest:
        self._request = v2.read_request(self._body, self._header_length, spec, most=self._most)
        return TensorRequest(pictures=self._request.images, record=self._request.record)

    def write(self, live: LiveModel, prediction: Prediction, ids: Sequence[str]) -> v2.EncodedResponse:
        if self._request is None:
            raise RuntimeError("write was called before read")
        return v2.write_answer(self._request, prediction, _answerer(live), ids=ids)


def _requested_model(request: Request) -> LiveModel:
    """Return the live model if the path names it.

    Raises:
        NotReady: no model is live.
        NotFound: another model or version is live.
    """
    dependencies: Dependencies = request.state.dependencies
    live = dependencies.slot.require()
    identity, path = live.identity, request.path_params
    name, version = path["name"], path.get("version")
    if name != identity.name or version not in (None, identity.version):
        got = f"{name[:80]!r}" + (f" version {version[:80]!r}" if version else "")
        raise NotFound(
            f"{got} is not live, the live model is {identity.name!r} version {identity.version!r}; "
            "request that one, or omit the version"
        )
    return live


def _answerer(live: LiveModel) -> v2.ModelInfo:
    identity = live.identity
    return v2.ModelInfo(
        name=identity.name,
        version=identity.version,
        sha256=identity.sha256,
        classes=live.contract.classes,
    )
