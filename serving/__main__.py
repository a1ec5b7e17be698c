"""Run the service with its settings.

    MIEN_PORT=9000 MIEN_WORKERS=2 python -m serving

Ready within 3 seconds when a model is cached. Ends within MIEN_SHUTDOWN_S of SIGTERM, every request answered,
or MIEN_TIMEOUT_S later when streams are open.
"""

from __future__ import annotations

import os
import sys
import tempfile

from serving.settings import Settings
from serving.startup import EXIT_STATUS, check, check_address, explained, read_settings

# Prometheus' client reads it while it is imported, so it is spelt here and not imported from there.
_MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def main() -> None:
    """Serve until told to end."""
    with explained():
        settings = read_settings()
        check_address(settings.host, settings.port)
    if settings.workers == 1:
        # The application checks the rest when it is made, in this process.
        _serve(settings)
        return
    _check_apart(settings)
    if _MULTIPROCESS_VARIABLE in os.environ:
        _serve(settings)
        return
    with tempfile.TemporaryDirectory(prefix="mien-metrics-") as folder:
        os.environ[_MULTIPROCESS_VARIABLE] = folder
        _serve(settings)


def _check_apart(settings: Settings) -> None:
    """Check in a child: what that imports would stay with the parent, which only watches the workers."""
    child = os.fork()
    if child == 0:
        status = EXIT_STATUS
        try:
            with explained():
                check(settings)
            status = 0
        except Exception:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(EXIT_STATUS)


def _serve(settings: Settings) -> None:
    import uvicorn

    uvicorn.run(
        "serving.main:app",
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_s)),
        # Larger frames of a stream are refused while they come; pictures are compressed already.
        ws_max_size=settings.max_bytes,
        ws_per_message_deflate=False,
        access_log=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()
