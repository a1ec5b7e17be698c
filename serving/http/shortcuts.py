"""The shortest way to the busiest paths: past the router and what stands before it.

FastAPI looks through all routes in turn, fills in a dozen entries of the scope and opens two exit stacks for
each request; for a path without parameters all of it comes to the same function each time, and costs as much
as the rest of the request's way to it. A path that is not listed, or another method, goes the usual way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.http.parts import LeanRoute


class Shortcuts:
    """Answers some paths by itself; stands between the edge and the application."""

    def __init__(self, app: ASGIApp, *, routers: Iterable[APIRouter], paths: Collection[str]) -> None:
        """Lead `paths` of `routers` to their functions; only a `LeanRoute` has one that takes the request."""
        self._app = app
        self._routes = {
            (method, route.path): route
            for router in routers
            for route in router.routes
            if isinstance(route, LeanRoute) and route.path in paths
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        # For the log and the metrics.
        scope["route"] = route
        response = await route.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)
