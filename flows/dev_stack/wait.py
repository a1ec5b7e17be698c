"""Start a command once others are healthy: `python -m flows.dev_stack.wait URL… -- COMMAND…` becomes it."""

from __future__ import annotations

import os
import sys
import time
import urllib.error
import urllib.request

_EVERY_S = 0.5
_PATIENCE_S = 5.0


def is_healthy(url: str) -> bool:
    """Whether the address answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE_S) as answer:  # noqa: S310 - the stack's own addresses
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def main() -> None:
    """Wait for every address, then become the command."""
    arguments = sys.argv[1:]
    end = arguments.index("--")
    for url in arguments[:end]:
        while not is_healthy(url):
            time.sleep(_EVERY_S)
    command = arguments[end + 1 :]
    os.execvp(command[0], command)  # noqa: S606 - the command is the stack's own


if __name__ == "__main__":
    main()
