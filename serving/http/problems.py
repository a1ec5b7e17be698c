"""Error responses: one table from exception to status, one body (RFC 9457), the headers of every response.

`type` is `urn:mien:problem:` and the slug of the table; clients compare it, people read `detail`. Under the
standard protocols' paths the body has additional members, which RFC 9457 allows:

/v2/…           `error`: shown by tritonclient and KServe's clients
/invocations …  `error_code` and `message`: shown by MLflow's clients
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, NotRequired

import orjson
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from typing_extensions import TypedDict

from serving import errors
from serving.detection.bodies import EXAMPLE_ID
from serving.errors import ServingError, operation, requests

SCORING_PATHS = frozenset({"/invocations", "/ping", "/health", "/version"})
# MLflow's error codes by status (mlflow.exceptions).
_MLFLOW_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "ENDPOINT_NOT_FOUND",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
}


TYPE_PREFIX = "urn:mien:problem:"


class Problem(TypedDict):
    """RFC 9457."""

    type: Annotated[str, Field(pattern=f"^{TYPE_PREFIX}[a-z-]+$")]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: Annotated[str, Field(description="What was got, what was expected, what to do.")]
    request_id: NotRequired[str]


class InferProblem(Problem):
    """RFC 9457, with the protocol's own `error`, which is the same as `detail`."""

    error: str


class ScoringProblem(Problem):
    """RFC 9457, with the members of MLflow's errors."""

    error_code: str
    message: str


EXAMPLE_PROBLEM: Problem = {
    "type": "urn:mien:problem:image-too-large",
    "title": "Too many pixels",
    "status": 413,
    "detail": "the image has 20000×20000 = 400000000 pixels, at most 32000000 are accepted; "
    "send a smaller one",
    "request_id": EXAMPLE_ID,
}


_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
# For responses without their own policy: JSON loads nothing, so nothing may be loaded.
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
ADDED_HEADERS = (*_SECURITY_HEADERS, _POLICY)
"""Headers of every response; a response's own header of the same name has precedence."""
# A close frame carries at most 123 bytes of text (RFC 6455, 5.5).
_REASON_BYTES = 123
MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """One row of the table."""

    status: int
    slug: str
    title: str


# The row of an exception's nearest listed ancestor applies; without a row it is a 500 without details.
TABLE: Mapping[type[Exception], ProblemKind] = {
    requests.BadRequest: ProblemKind(400, "bad-request", "The request is not valid"),
    requests.BodyIncomplete: ProblemKind(400, "body-incomplete", "The body is incomplete"),
    requests.Unauthorized: ProblemKind(401, "unauthorized", "A valid key is needed"),
    requests.Forbidden: ProblemKind(403, "forbidden", "Not allowed"),
    requests.NotFound: ProblemKind(404, "not-found", "Not found"),
    requests.MethodNotAllowed: ProblemKind(405, "method-not-allowed", "The path does not take this method"),
    requests.NotAcceptable: ProblemKind(406, "not-acceptable", "No accepted media type is available"),
    requests.HeadTooSlow: ProblemKind(408, "head-too-slow", "The head of the request did not arrive in time"),
    requests.BodyTooSlow: ProblemKind(408, "body-too-slow", "The body did not arrive in time"),
    requests.StreamIdle: ProblemKind(408, "stream-idle", "The stream was idle for too long"),
    requests.PayloadTooLarge: ProblemKind(413, "payload-too-large", "Too many bytes"),
    requests.TooManyFiles: ProblemKind(413, "too-many-files", "Too many files"),
    requests.TooManyPictures: ProblemKind(413, "too-many-pictures", "Too many pictures in one request"),
    errors.ImageTooLarge: ProblemKind(413, "image-too-large", "Too many pixels"),
    requests.ContentUnsupported: ProblemKind(
        415, "content-unsupported", "The endpoint does not read this content type"
    ),
    errors.PictureAsText: ProblemKind(415, "picture-as-text", "A picture as text, not as bytes"),
    errors.ImageFormatUnknown: ProblemKind(
        415, "image-format-unknown", "The service does not read this image format"
    ),
    errors.ImageError: ProblemKind(422, "image-unusable", "The picture cannot be decoded"),
    requests.UpgradeRequired: ProblemKind(426, "upgrade-required", "This endpoint is a WebSocket"),
    requests.RateLimited: ProblemKind(429, "rate-limited", "Too many requests"),
    requests.HeadTooLarge: ProblemKind(431, "head-too-large", "Request line and header fields are too large"),
    requests.NotReady: ProblemKind(503, "not-ready", "No model is live"),
    requests.QueueFull: ProblemKind(503, "queue-full", "Too many pictures are waiting"),
    requests.ConnectionsFull: ProblemKind(503, "connections-full", "Too many connections are open"),
    requests.BodiesFull: ProblemKind(503, "bodies-full", "Too many bytes are being received at once"),
    requests.StreamsFull: ProblemKind(503, "streams-full", "Too many streams are open"),
    requests.DeadlinePassed: ProblemKind(503, "deadline-passed", "Not answered in time"),
    operation.StoreUnavailable: ProblemKind(
        503, "store-unavailable", "The observation database is not reachable"
    ),
    errors.FaceDetectorError: ProblemKind(503, "face-detector-unusable", "The face detector cannot be used"),
}
INTERNAL = ProblemKind(500, "internal", "Internal error")


def kind_of(error: BaseException) -> ProblemKind:
    """Return the row of an exception's nearest listed ancestor."""
    for ancestor in type(error).__mro__:
        if ancestor in TABLE:
            return TABLE[ancestor]
    return INTERNAL


def problem(error: BaseException, *, request_id: str | None = None) -> Problem:
    """Return the body for an exception; it reveals nothing of an exception that is not in the table."""
    kind = kind_of(error)
    body: Problem = {
        "type": TYPE_PREFIX + kind.slug,
        "title": kind.title,
        "status": kind.status,
        "detail": str(error)
        if kind is not INTERNAL
        else "the service failed; its log has the reason under this request_id",
    }
    if request_id is not None:
        body["request_id"] = request_id
    return body


def response(error: BaseException, *, request_id: str | None = None, path: str = "") -> Response:
    """Return the response for an exception, with the members that the clients of `path` read."""
    body = _for_path(problem(error, request_id=request_id), path)
    return Response(
        orjson.dumps(body), status_code=body["status"], media_type=MEDIA_TYPE, headers=_headers(error)
    )


def _for_path(body: Problem, path: str) -> Problem | InferProblem | ScoringProblem:
    detail, status = body["detail"], body["status"]
    if path == "/v2" or path.startswith("/v2/"):
        return InferProblem(**body, error=detail)
    if path in SCORING_PATHS:
        otherwise = "BAD_REQUEST" if status < 500 else "INTERNAL_ERROR"
        return ScoringProblem(**body, error_code=_MLFLOW_CODES.get(status, otherwise), message=detail)
    return body


def close_reason(error: BaseException) -> str:
    """Return the text of the close frame that ends a WebSocket because of an exception."""
    return str(error).encode()[:_REASON_BYTES].decode(errors="ignore")


def from_status(status: int, detail: str, *, method: str, allowed: str) -> ServingError:
    """Return the error of the table for a refusal by the router."""
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return requests.MethodNotAllowed(got=method, allowed=allowed)
    if status == HTTPStatus.NOT_FOUND:
        return requests.NotFound("this path does not exist; see /docs")
    return requests.BadRequest(detail)


def _headers(error: BaseException) -> dict[str, str]:
    match error:
        case requests.Overloaded() | requests.RateLimited():
            return {"retry-after": str(requests.whole_seconds(error.retry_after_s))}
        case requests.EncodingUnsupported():
            # RFC 9110, 15.5.16.
            return {"accept-encoding": "gzip, deflate"}
        case requests.Unauthorized():
            return {"www-authenticate": 'Bearer realm="mien"'}
        case requests.UpgradeRequired():
            return {"upgrade": "websocket", "connection": "upgrade"}
        case requests.MethodNotAllowed():
            return {"allow": error.allowed}
        case operation.StoreUnavailable():
            return {"retry-after": "5"}
        case _:
            return {}


_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


async def router_refusal(request: Request, error: Exception) -> Response:
    """Exception handler for the router's refusals: unknown path, unknown method."""
    if not isinstance(error, HTTPException):
        raise error
    refusal = from_status(
        error.status_code, error.detail, method=request.method, allowed=", ".join(_methods(request))
    )
    return response(refusal, request_id=request.state.request_id, path=request.url.path)


def _methods(request: Request) -> list[str]:
    """Return all methods of the path: the router names only those of the first matching route."""
    return [
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]
