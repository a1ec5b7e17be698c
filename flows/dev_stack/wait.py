"""Wait for servers, then become a command: `python -m flows.dev_stack.wait URL… -- COMMAND…`."""

from __future__ import annotations

import os
import sys
import time
import urllib.error
import urllib.request

_POLL_S = 0.5
_TIMEOUT_S = 5.0


def is_healthy(url: str) -> bool:
    """Whether a request to the address returns 200."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - the stack's own addresses
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def main() -> None:
    """Wait until every address is healthy, then become the command."""
    arguments = sys.argv[1:]
    end = arguments.index("--")
    for url in arguments[:end]:
        while not is_healthy(url):
            time.sleep(_POLL_S)
    command = arguments[end + 1 :]
    os.execvp(command[0], command)  # noqa: S606 - the command is the stack's own


if __name__ == "__main__":
    main()
