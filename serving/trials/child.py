"""The shadow process, from the service's side: started, asked, and ended."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from serving.detection.image_reader import FacesMode
from serving.processes import Child
from serving.trials.messages import Reply, Setup, ask, read_reply, send_setup

_LOOK_S = 0.2
# Its priority is the lowest there is: on a machine that is busy for minutes, it waits for minutes.
_HUNG_S = 300.0
# It ends its follower first.
_END_S = 3.0


class ShadowChild:
    """One process; used by one thread."""

    def __init__(self, setup: Setup) -> None:
        """Start it.

        Raises:
            OSError: it cannot be started.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            try:
                self._process = Child("serving.trials.shadow_process", [str(number)], pass_fds=[number])
            except OSError:
                ours.close()
                raise
        self._connection = Connection(ours.detach())
        try:
            send_setup(self._connection, setup)
        except OSError:
            self.end(at_once=True)
            raise

    def ask(self, data: bytes | None, faces: FacesMode, *, ending: Callable[[], bool]) -> Reply | None:
        """Have a picture looked at, or ask only how it stands; None when the service ends meanwhile.

        Raises:
            EOFError: the process ended.
            OSError: the same, while it was being asked.
            TimeoutError: it hangs.
        """
        ask(self._connection, data=data, faces=faces)
        deadline = time.monotonic() + _HUNG_S
        while not self._connection.poll(_LOOK_S):
            if ending():
                return None
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer within {_HUNG_S:g} s")
        return read_reply(self._connection)

    def kill(self) -> None:
        """End it at once; may be called from another thread."""
        self._process.process.kill()

    def end(self, *, at_once: bool) -> int:
        """Have it end; its exit status."""
        self._connection.close()
        return self._process.end(grace_s=0.0 if at_once else _END_S)
