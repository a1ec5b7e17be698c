"""Errors as answers: one table from exception to status, one body (RFC 9457, application/problem+json).

`type` is `urn:mien:problem:` and the slug of the table; clients compare it, people read `detail`.

Errors in the words of the standard protocols: members beside those of RFC 9457, which allows more of them.

/v2/…           `error`: what tritonclient and KServe's clients show
/invocations …  `error_code` and `message`: what MLflow's clients show

The router's own refusals, no such path and no such method, as problems of the one table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from serving import errors
from serving.errors import ServingError

SCORING_PATHS = frozenset({"/invocations", "/ping", "/health", "/version"})
# MLflow's names of what a status says (mlflow.exceptions); others are its INTERNAL_ERROR.
_MLFLOW_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "ENDPOINT_NOT_FOUND",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
}


def members(path: str, problem: dict[str, Any]) -> dict[str, Any]:
    """What the clients of a path look for beside the problem itself."""
    if path == "/v2" or path.startswith("/v2/"):
        return {"error": problem["detail"]}
    if path in SCORING_PATHS:
        status = problem["status"]
        otherwise = "BAD_REQUEST" if status < 500 else "INTERNAL_ERROR"
        return {"error_code": _MLFLOW_CODES.get(status, otherwise), "message": problem["detail"]}
    return {}


MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:mien:problem:"


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table."""

    status: int
    slug: str
    title: str


# The nearest class in an exception's ancestry counts. Whatever is not here is a 500 without details.
TABLE: Mapping[type[Exception], Kind] = {
    errors.BadRequest: Kind(400, "bad-request", "The request is not one this endpoint takes"),
    errors.BodyIncomplete: Kind(400, "body-incomplete", "The body broke off"),
    errors.Unauthorized: Kind(401, "unauthorized", "A valid key is needed"),
    errors.Forbidden: Kind(403, "forbidden", "Not allowed"),
    errors.NotFound: Kind(404, "not-found", "There is no such thing"),
    errors.MethodNotAllowed: Kind(405, "method-not-allowed", "The path does not take this method"),
    errors.NotAcceptable: Kind(406, "not-acceptable", "No answer of an accepted type"),
    errors.HeadTooSlow: Kind(408, "head-too-slow", "The head of the request did not arrive in time"),
    errors.BodyTooSlow: Kind(408, "body-too-slow", "The body did not arrive in time"),
    errors.StreamIdle: Kind(408, "stream-idle", "Nothing came or was taken in time"),
    errors.PayloadTooLarge: Kind(413, "payload-too-large", "Too many bytes"),
    errors.TooManyFiles: Kind(413, "too-many-files", "Too many files"),
    errors.TooManyPictures: Kind(413, "too-many-pictures", "Too many pictures in one request"),
    errors.ImageTooLarge: Kind(413, "image-too-large", "Too many pixels"),
    errors.ContentUnsupported: Kind(415, "content-unsupported", "Not a kind of body this endpoint reads"),
    errors.PictureAsText: Kind(415, "picture-as-text", "A picture as text, not as bytes"),
    errors.ImageFormatUnknown: Kind(415, "image-format-unknown", "Not an image format this service reads"),
    errors.ImageError: Kind(422, "image-unusable", "The bytes cannot become a picture"),
    errors.UpgradeRequired: Kind(426, "upgrade-required", "This is a WebSocket"),
    errors.RateLimited: Kind(429, "rate-limited", "Too many requests"),
    errors.HeadTooLarge: Kind(431, "head-too-large", "Request line and header fields are too large"),
    errors.NotReady: Kind(503, "not-ready", "No model is live"),
    errors.QueueFull: Kind(503, "queue-full", "Too many pictures are waiting"),
    errors.ConnectionsFull: Kind(503, "connections-full", "Too many connections are open"),
    errors.BodiesFull: Kind(503, "bodies-full", "Too many bytes are being sent at once"),
    errors.StreamsFull: Kind(503, "streams-full", "Too many streams are open"),
    errors.DeadlinePassed: Kind(503, "deadline-passed", "Not answered in time"),
    errors.StoreUnavailable: Kind(503, "store-unavailable", "The observations cannot be reached"),
    errors.FaceDetectorError: Kind(503, "face-detector-unusable", "The face detector cannot be used"),
}
INTERNAL = Kind(500, "internal", "Something went wrong here")


def kind_of(error: BaseException) -> Kind:
    """The row of an exception's nearest listed ancestor."""
    for ancestor in type(error).__mro__:
        if ancestor in TABLE:
            return TABLE[ancestor]
    return INTERNAL


def problem(error: BaseException, *, request_id: str | None = None) -> dict[str, Any]:
    """The body for an exception; what is not in the table gives nothing away."""
    kind = kind_of(error)
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + kind.slug,
        "title": kind.title,
        "status": kind.status,
        "detail": str(error) if kind is not INTERNAL else "the log has the reason, under this request's id",
    }
    if request_id is not None:
        body["request_id"] = request_id
    return body


def response(error: BaseException, *, request_id: str | None = None, path: str = "") -> Response:
    """The answer for an exception; below some paths with the members that their protocols' clients read."""
    body = problem(error, request_id=request_id)
    body |= members(path, body)
    return Response(
        orjson.dumps(body), status_code=body["status"], media_type=MEDIA_TYPE, headers=_headers(error)
    )


def from_status(status: int, detail: str, *, method: str, allowed: str) -> ServingError:
    """The router's own refusals, as errors of the table."""
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return errors.MethodNotAllowed(got=method, allowed=allowed)
    if status == HTTPStatus.NOT_FOUND:
        return errors.NotFound("there is no such path; see /docs")
    return errors.BadRequest(detail)


def _headers(error: BaseException) -> dict[str, str]:
    match error:
        case errors.Overloaded() | errors.RateLimited():
            return {"retry-after": str(errors.whole_seconds(error.retry_after_s))}
        case errors.EncodingUnsupported():
            # RFC 9110, 15.5.16.
            return {"accept-encoding": "gzip, deflate"}
        case errors.Unauthorized():
            return {"www-authenticate": 'Bearer realm="mien"'}
        case errors.UpgradeRequired():
            return {"upgrade": "websocket", "connection": "upgrade"}
        case errors.MethodNotAllowed():
            return {"allow": error.allowed}
        case errors.StoreUnavailable():
            return {"retry-after": "5"}
        case _:
            return {}


_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


async def router_refusal(request: Request, error: Exception) -> Response:
    """For FastAPI's table of handlers."""
    if not isinstance(error, HTTPException):
        raise error
    refusal = from_status(
        error.status_code, error.detail, method=request.method, allowed=", ".join(_methods(request))
    )
    return response(refusal, request_id=request.state.request_id, path=request.url.path)


def _methods(request: Request) -> list[str]:
    """That the path takes: the router itself names only those of the first route that matches."""
    return [
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]
