"""Child processes that end when the process that started them ends, also when that one is killed.

    child = Child("serving.model_sync.poller", ["models:/emotion@production", "state"])
    child.poll(), child.answers(5.0), child.end()

Every child process of the service is one of these. It is started through this module's `main`,

    python -m serving.processes FD PARENT MODULE [ARGUMENT…]

which sets up two independent ways to end before it runs the module. On Linux the kernel kills the child
(PR_SET_PDEATHSIG, prctl(2)). Everywhere, a thread reads from a socket whose other end only the parent holds:
the end of that stream means the end of the parent. The same socket shows whether the child still runs Python.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_ROOT = Path(__file__).resolve().parents[1]
# From linux/prctl.h.
_PR_SET_PDEATHSIG = 1
_PING = b"."


class Child:
    """A module of this package that runs as a process of its own.

    The kernel's signal follows the *thread* that starts the child, not its process (prctl(2)): start it from
    a thread that lives at least as long as the child.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Start the child process.

        Args:
            module: to run as `python -m` would.
            arguments: of the module; anybody on the machine can read them.
            stdin: as for `subprocess.Popen`, like `stdout` and `stderr`.
            stdout: where standard output goes.
            stderr: where standard error goes.
            environment: variables beside those of this process.
            pass_fds: file descriptors that the child keeps, under the same numbers.

        Raises:
            OSError: it cannot be started.
        """
        self._lifeline, theirs = socket.socketpair()
        self._lifeline.setblocking(False)
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, "-m", __name__, str(number), str(os.getpid()), module, *arguments]
            try:
                self.process = subprocess.Popen(  # noqa: S603 - our own module, run by our own interpreter
                    command,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    env=_environment(environment or {}),
                    pass_fds=[number, *pass_fds],
                )
            except OSError:
                self._lifeline.close()
                raise

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    def poll(self) -> int | None:
        """Exit status, as `subprocess.Popen.poll`; None while it runs."""
        return self.process.poll()

    def wait(self, timeout_s: float | None = None) -> int:
        """Exit status, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        return self.process.wait(timeout_s)

    def ping(self) -> None:
        """Request a sign of life; see `answered`."""
        try:
            self._lifeline.send(_PING)
        except OSError:
            # It has ended, or has not read thousands of earlier requests: `answered` and `poll` show which.
            return

    def answered(self) -> bool:
        """Whether a sign of life came since the last call."""
        try:
            return bool(self._lifeline.recv(1024))
        except OSError:
            return False

    def end(self, *, grace_s: float = 0.0) -> int:
        """End the child, by a kill if it does not end by itself within `grace_s`; return its exit status."""
        try:
            if grace_s > 0:
                self.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            pass
        if self.process.poll() is None:
            self.process.kill()
        status = self.process.wait()
        self._lifeline.close()
        return status


def main() -> None:
    """Run a module that ends with its parent."""
    lifeline, parent = int(sys.argv[1]), int(sys.argv[2])
    # Ctrl-C in a terminal reaches every process; this one ends with its parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with(parent)
    threading.Thread(
        target=_answer, args=(socket.socket(fileno=lifeline),), name="lifeline", daemon=True
    ).start()
    del sys.argv[:3]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with(parent: int) -> None:
    """Have the kernel end this process with its parent, where it can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # It ended before the kernel was asked.
        os._exit(1)


def _answer(lifeline: socket.socket) -> None:
    """Give signs of life until the parent's end of the connection is gone."""
    try:
        while asked := lifeline.recv(1024):
            lifeline.send(asked)
    except OSError:
        pass
    # At once, without waiting for other threads: SIGKILL would leave no more behind.
    os._exit(1)


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """Variables of a child that finds this package from every folder."""
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)} | dict(given)


if __name__ == "__main__":
    main()
