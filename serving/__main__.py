"""Run the service with its settings.

    MIEN_PORT=9000 MIEN_WORKERS=2 python -m serving

Ready within 3 seconds when a model is cached; ends within MIEN_SHUTDOWN_S of SIGTERM, every request answered.
"""

from __future__ import annotations

import os
import tempfile

from pydantic import ValidationError

from serving.settings import PREFIX, Settings

# Prometheus' client reads it while it is imported, so it is spelt here and not imported from there.
_MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def main() -> None:
    """Serve until told to end."""
    try:
        settings = Settings()
    except ValidationError as error:
        raise SystemExit(_explained(error)) from None
    if settings.workers == 1 or _MULTIPROCESS_VARIABLE in os.environ:
        _serve(settings)
        return
    with tempfile.TemporaryDirectory(prefix="mien-metrics-") as folder:
        os.environ[_MULTIPROCESS_VARIABLE] = folder
        _serve(settings)


def _serve(settings: Settings) -> None:
    import uvicorn

    uvicorn.run(
        "serving.main:app",
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_s)),
        access_log=False,
        server_header=False,
    )


def _explained(error: ValidationError) -> str:
    lines = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        name = PREFIX + "_".join(map(str, item["loc"][:1])).upper() if item["loc"] else "settings"
        lines.append(f"{name}: {item['msg']}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
