"""The application that `uvicorn serving.main:app` serves.

    uvicorn serving.main:app

It is made when it is first asked for: importing this module reads no setting and opens nothing.
"""

from __future__ import annotations

import gc
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI


@cache
def _app() -> FastAPI:
    """The application of the environment's settings; what is wrong with them ends the process."""
    from serving.startup import check, explained, read_settings

    with explained():
        settings = read_settings()
        check(settings)
    # Only now: what is wrong is to be told before seconds of imports.
    from serving.http.app import create_app
    from serving.http.logs import configure_logs

    configure_logs(settings.log_level)
    app = create_app(settings)
    # A hundred thousand objects of the libraries stay for good. Walking through them all takes the collector
    # tens of milliseconds, during which every request waits.
    gc.collect()
    gc.freeze()
    return app


def __getattr__(name: str) -> FastAPI:
    """`app`, on first use (PEP 562)."""
    if name == "app":
        try:
            return _app()
        except AttributeError as error:
            # Whoever asks would take it for a missing `app`.
            raise RuntimeError(f"the application cannot be made: {error}") from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
