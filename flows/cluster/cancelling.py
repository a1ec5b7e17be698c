"""Dask cannot interrupt a worker's thread: what runs there has to ask whether it is still wanted."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

_POLL_S = 1.0


@contextmanager
def stopped_when_cancelled(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` when the coordinator has cancelled this task, or is gone.

    Ray kills the worker's process instead, and with it what runs under guard; there nothing is watched.
    """
    wanted = _dask_wants_it()
    if wanted is None:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_POLL_S):
            if not wanted():
                stop()
                return

    watcher = threading.Thread(target=watch, name="cancelled", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _dask_wants_it() -> Callable[[], bool] | None:
    """Tells whether the scheduler still wants the task of this thread; None where Dask does not run it."""
    if "distributed.worker" not in sys.modules:
        return None
    library = import_module("distributed.worker")
    try:
        worker, key = library.get_worker(), library.thread_state.key
    except (ValueError, AttributeError):
        return None

    def wanted() -> bool:
        task: Any = worker.state.tasks.get(key)
        return task is not None and task.state == "executing"

    return wanted
