"""How flows fail: with a sentence as their state, and without the traceback that Prefect's engine adds."""

from __future__ import annotations

import logging
from typing import Any

from prefect.client.schemas.objects import State
from prefect.exceptions import FailedRun
from prefect.states import Failed

# Where the engine logs how a run went; its records reach Prefect's pages.
_LOGGER = "prefect.flow_runs"


def failed(message: str) -> State[Any]:
    """The state of a run that failed for a reason which `message` tells.

    The engine turns the state into an exception of its own and logs that as unexpected, with a traceback
    through Prefect alone; from now on this process leaves such records out.
    """
    logging.getLogger(_LOGGER).addFilter(_is_news)
    return Failed(message=message)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a record says more than the state that a flow has returned."""
    return not (record.exc_info and isinstance(record.exc_info[1], FailedRun))
