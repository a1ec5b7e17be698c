"""How flows end: with a sentence as their state, and a status and no traceback on the command line."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NoReturn

from prefect.client.schemas.objects import State
from prefect.exceptions import FailedRun
from prefect.settings import PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, temporary_settings
from prefect.states import Failed

# Where the engine logs how a run went; its records reach Prefect's pages.
_LOGGER = "prefect.flow_runs"
_TIMEOUT = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS
# Prefect waits 20 s for the server that it starts for itself, whose hundred migrations take twenty seconds
# on two idle cores.
_START_S = 120
# Of the RuntimeError that Prefect raises then (prefect/server/api/server.py, SubprocessASGIServer.start).
_NOT_STARTED = "ephemeral Prefect API server"


def failed(message: str) -> State[Any]:
    """The state of a run that failed for a reason which `message` tells.

    The engine turns the state into an exception of its own and logs that as unexpected, with a traceback
    through Prefect alone; from now on this process leaves such records out.
    """
    logging.getLogger(_LOGGER).addFilter(_is_news)
    return Failed(message=message)


def run_command(
    flow: Callable[..., State[Any]], parameters: dict[str, Any], *, named: bool = False
) -> NoReturn:
    """Run a flow as a command: print its last state, end with status 0 where it completed, else 1.

    Args:
        flow: of Prefect.
        parameters: of the flow.
        named: whether the state's name stands before its message.
    """
    patient = nullcontext() if _TIMEOUT.name in os.environ else temporary_settings({_TIMEOUT: _START_S})
    try:
        with patient:
            state = flow(**parameters, return_state=True)
    except RuntimeError as error:
        if _NOT_STARTED not in str(error):
            raise
        print(
            "error: the Prefect server of this run did not start in time; start one with `make up` and "
            "`export PREFECT_API_URL=http://127.0.0.1:4200/api`, or set "
            f"{_TIMEOUT.name} to more seconds",
            file=sys.stderr,
        )
        sys.exit(1)
    print(f"{state.name}: {state.message}" if named else state.message)
    sys.exit(0 if state.is_completed() else 1)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a record says more than the state that a flow has returned."""
    return not (record.exc_info and isinstance(record.exc_info[1], FailedRun))
