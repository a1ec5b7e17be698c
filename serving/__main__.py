"""Run the service with its settings.

    MIEN_PORT=9000 MIEN_WORKERS=2 python -m serving

It takes no arguments: its settings are the environment variables of docs/service-settings.md. It ends within
MIEN_SHUTDOWN_S of SIGTERM with every request answered, or MIEN_TIMEOUT_S later when streams are open.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import tempfile
from contextlib import ExitStack

from serving.preflight import EXIT_STATUS, address, bind, check, exit_on_error, read_settings
from serving.settings import MULTIPROCESS_VARIABLE, Settings


def main() -> None:
    """Serve until SIGTERM."""
    argparse.ArgumentParser(
        prog="python -m serving",
        description="Start the service and its page.",
        epilog="Its settings are environment variables, such as MIEN_PORT: docs/service-settings.md",
    ).parse_args()
    with exit_on_error():
        settings = read_settings()
        sockets = bind(settings.host, settings.port)
    print(f"The service and its page: {address(settings.host, sockets)}", flush=True)
    if settings.workers == 1:
        from serving.http.server.uvicorn_server import serve

        # The application checks the rest when it is made, in this process.
        raise SystemExit(0 if serve(settings, sockets) else EXIT_STATUS)
    _check_apart(settings)
    raise SystemExit(_run_workers(settings, sockets))


def _check_apart(settings: Settings) -> None:
    """Check in a child: what that imports would stay with the parent, which only watches the workers."""
    child = os.fork()
    if child == 0:
        status = EXIT_STATUS
        try:
            with exit_on_error():
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


def _run_workers(settings: Settings, sockets: list[socket.socket]) -> int:
    from serving.http.server.workers import Workers, end_s
    from serving.http.telemetry.logs import configure_logs

    configure_logs(settings.log_level)
    longest_s = end_s(settings.shutdown_s, settings.timeout_s)
    with ExitStack() as stack:
        if MULTIPROCESS_VARIABLE not in os.environ:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mien-metrics-"))
            os.environ[MULTIPROCESS_VARIABLE] = folder
        return Workers(sockets, count=settings.workers, end_s=longest_s).run()


if __name__ == "__main__":
    main()
