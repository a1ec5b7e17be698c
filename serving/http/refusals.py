"""The router's own refusals, no such path and no such method, as problems of the one table."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from serving.http import problems

_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


async def router_refusal(request: Request, error: Exception) -> Response:
    """For FastAPI's table of handlers."""
    if not isinstance(error, HTTPException):
        raise error
    refusal = problems.from_status(
        error.status_code, error.detail, method=request.method, allowed=", ".join(_methods(request))
    )
    return problems.response(refusal, request_id=request.state.request_id, path=request.url.path)


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
