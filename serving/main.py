"""The application that `uvicorn serving.main:app` serves.

    uvicorn serving.main:app

It is made when it is first asked for: importing this module reads no setting and opens nothing.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI


@cache
def _app() -> FastAPI:
    from serving.http.app import create_app
    from serving.http.logs import configure_logs
    from serving.settings import Settings

    settings = Settings()
    configure_logs(settings.log_level)
    return create_app(settings)


def __getattr__(name: str) -> FastAPI:
    """`app`, on first use (PEP 562)."""
    if name == "app":
        return _app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
