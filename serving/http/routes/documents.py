"""GET /docs and /openapi.json: the endpoints described, for people and for programs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from serving.http.components import COMPONENTS
from serving.http.dependencies import LeanRoute, json_response
from serving.http.drift_schemas import COMPONENTS as DRIFT_COMPONENTS
from serving.http.page_schemas import COMPONENTS as PAGE_COMPONENTS
from serving.http.protocol_components import COMPONENTS as PROTOCOL_COMPONENTS
from serving.http.reference import POLICY, render_reference

router = APIRouter(route_class=LeanRoute, include_in_schema=False)


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The OpenAPI document."""
    return json_response(request.app.openapi())


@router.get("/docs")
async def docs(request: Request) -> Response:
    """The same as a page."""
    page = render_reference(request.app.openapi())
    return HTMLResponse(page, headers={"content-security-policy": POLICY})


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an application, with the components that are written by hand."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    document["components"] = {
        "schemas": {**COMPONENTS, **DRIFT_COMPONENTS, **PAGE_COMPONENTS, **PROTOCOL_COMPONENTS},
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        },
    }
    # Keys are needed only where some are configured.
    document["security"] = [{}, {"bearer": []}, {"header": []}]
    return document
