"""What an endpoint declares (path, scope, body limit, whether it is logged, responses) and what it uses.

    routes = Routes("detection")

    @routes.add("POST", "/detect", max_bytes=lambda dependencies: dependencies.settings.max_bytes, …)
    async def detect(request: Request) -> Response: …

A handler finds the service's objects in `request.state.dependencies`. `serving.http.middleware` reads the
declaration of each request's endpoint; the OpenAPI document is made from the same declarations.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import ConfigDict, with_config
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from serving.detection.detector import Detector
from serving.detection.detectors import Detectors
from serving.detection.tensors import TensorAnswerer
from serving.drift.monitor import DriftMonitor
from serving.experiments.manager import Experiments
from serving.http.auth import Scope
from serving.http.problems import MEDIA_TYPE, TABLE, Problem
from serving.http.server.connections import Connections
from serving.http.stream import Streams
from serving.http.telemetry.metrics import Metrics
from serving.inference.batching import Batcher
from serving.inference.model_slot import ModelSlot
from serving.model_sync.service import ModelSync
from serving.observations.labels import LabelStore
from serving.observations.recorder import Recorder
from serving.observations.store import Store
from serving.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """The parts of the running service, by role."""

    settings: Settings
    slot: ModelSlot
    detectors: Detectors
    batcher: Batcher
    detector: Detector
    model_sync: ModelSync
    recorder: Recorder
    store: Store
    labels: LabelStore
    metrics: Metrics
    drift: DriftMonitor
    streams: Streams
    connections: Connections
    tensors: TensorAnswerer
    experiments: Experiments

    def refresh_metrics(self) -> None:
        """Copy the current state into the gauges."""
        stats = self.recorder.stats()
        rows = {name: getattr(stats, name) for name in ("written", "waiting", "dropped")}
        self.metrics.streams(len(self.streams))
        self.metrics.connections(len(self.connections))
        canary = self.experiments.canary
        self.metrics.experiments.active(canary is not None and canary.status.state == "running")
        self.metrics.drift.show(self.drift.status())
        self.metrics.state(self.slot, waiting=self.batcher.waiting, rows=rows)


Handler = Callable[[Request], Awaitable[Response]]
SocketHandler = Callable[[WebSocket], Awaitable[None]]
H = TypeVar("H", bound=Handler)
S = TypeVar("S", bound=SocketHandler)


def small_body(dependencies: Dependencies) -> int:
    """Return the body limit, bytes, of endpoints that read two short texts as JSON, or no body."""
    return 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """The declaration of one endpoint."""

    method: str
    path: str
    """The path's template; the label of its requests in metrics, logs and traces."""
    handler: Handler | None = None
    """Answers a request; None: the router refuses it."""
    scope: Scope = "predict"
    logged: bool = True
    """Whether requests are logged and count as in progress; probes and scrapes come every few seconds."""
    max_bytes: Callable[[Dependencies], int] = small_body
    """Maximum number of bytes of a request body."""


Schema = Mapping[str, object]
"""A part of the OpenAPI document that is written by hand."""
# The string under a field of a decorated dataclass is its description in the document.
documented = with_config(ConfigDict(use_attribute_docstrings=True))


def ref(name: str) -> dict[str, str]:
    """Return a reference to a component of the OpenAPI document."""
    return {"$ref": f"#/components/schemas/{name}"}


ACCESS = (401, 403, 429)
"""Problem statuses of endpoints that check access."""
BODY = (400, 408, 413, 415)
"""Problem statuses of endpoints that read a body."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A successful response, as the OpenAPI document describes it."""

    text: str
    status: int = 200
    model: Any = None
    """Type of the JSON body; None without one."""
    content: Schema | None = None
    """Media type, besides JSON → its description (OpenAPI 3.1)."""
    links: Schema | None = None

    def described(self) -> dict[str, object]:
        """Return the arguments of FastAPI's `responses`."""
        found: dict[str, object] = {"model": self.model, "content": self.content, "links": self.links}
        return {"description": self.text} | {name: value for name, value in found.items() if value}


def _problems(statuses: Iterable[int], kind: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """Describe the problem responses, by status, with the titles of `problems.TABLE`."""
    return {
        status: {
            "description": "; ".join(
                dict.fromkeys(kind.title for kind in TABLE.values() if kind.status == status)
            ),
            "content": {MEDIA_TYPE: {"schema": ref(kind.__name__)}},
        }
        for status in sorted(statuses)
    }


class Routes:
    """The endpoints of one file in `serving.http.routes`."""

    def __init__(self, tag: str, *, problem: type[Problem] = Problem) -> None:
        """Create an empty list.

        Args:
            tag: name of the group in the OpenAPI document.
            problem: type of the group's problem responses.
        """
        self.endpoints: list[Endpoint] = []
        self._problem = problem
        self.router = APIRouter(route_class=_PlainRoute, tags=[tag])

    def add(
        self,
        method: str,
        path: str,
        *,
        scope: Scope = "predict",
        logged: bool = True,
        max_bytes: Callable[[Dependencies], int] = small_body,
        answer: Answer | type | None = None,
        problems: Iterable[int] = (),
        parameters: Sequence[Schema] = (),
        body: Schema | None = None,
    ) -> Callable[[H], H]:
        """Declare the decorated function as an endpoint, and describe it in the OpenAPI document.

        Args:
            method: of HTTP.
            path: see `Endpoint`, also for `scope`, `logged` and `max_bytes`.
            scope: the scope that a key needs.
            logged: whether requests are logged.
            max_bytes: limit of the body.
            answer: the successful response; for a type, JSON of this type, described by its docstring.
                Without it the document leaves the endpoint out.
            problems: statuses of the problem responses.
            parameters: parameters of path, query and headers (OpenAPI 3.1).
            body: the request body (OpenAPI 3.1).
        """
        if isinstance(answer, type):
            answer = Answer(text=(answer.__doc__ or "").partition("\n")[0], model=answer)
        success = answer or Answer(text="")
        extra: dict[str, Any] = {"parameters": list(parameters)} if parameters else {}
        if body is not None:
            extra["requestBody"] = body

        def declare(handler: H) -> H:
            self.endpoints.append(
                Endpoint(
                    method=method, path=path, handler=handler, scope=scope, logged=logged, max_bytes=max_bytes
                )
            )
            self.router.add_api_route(
                path,
                handler,
                methods=[method],
                include_in_schema=answer is not None,
                responses={success.status: success.described(), **_problems(problems, self._problem)},
                openapi_extra=extra,
                status_code=success.status,
                response_model=None,
            )
            return handler

        return declare

    def add_websocket(self, path: str) -> Callable[[S], S]:
        """Declare the decorated function as a WebSocket; its scope is that of `GET` on the same path."""

        def declare(handler: S) -> S:
            self.router.add_api_websocket_route(path, handler)
            return handler

        return declare


class _PlainRoute(APIRoute):
    """A route that FastAPI only documents: no dependencies are resolved and no models are validated.

    Requests reach their handler through `serving.http.middleware`; only those below a server's `--root-path`
    come through FastAPI's router.
    """

    def get_route_handler(self) -> Callable[[Request], Any]:
        """Return the handler unchanged."""
        return cast(Callable[[Request], Any], self.endpoint)
