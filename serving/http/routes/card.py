"""GET /model/card: what the live model is for and how it was measured, as it came from the registry."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serving.http import page_schemas
from serving.http.dependencies import LeanRoute, json_response, parts_of

_CARD, _METRICS = "card.md", "metrics.json"

router = APIRouter(route_class=LeanRoute, tags=["model"])


@router.get("/model/card", **page_schemas.MODEL_CARD)
async def card(request: Request) -> Response:
    """The live model's card and its test metrics; null where it came without."""
    live = parts_of(request).slot.require()
    text, metrics = await asyncio.to_thread(lambda: (_text(live.folder / _CARD), _metrics(live.folder)))
    return json_response(
        {
            "version": live.identity.version,
            "sha256": live.identity.sha256,
            "card": text,
            "metrics": metrics,
        }
    )


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    # The folder goes when another model comes; a file that is no text is as good as none.
    except (OSError, UnicodeDecodeError):
        return None


def _metrics(folder: Path) -> dict[str, Any] | None:
    try:
        value = orjson.loads((folder / _METRICS).read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
