"""`dvc repro`, and at its end what this run did: `python -m pipelines.run [arguments of dvc repro]`.

What DVC and the stages print goes through unchanged. Exits with DVC's status.
"""

from __future__ import annotations

import codecs
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines import summary
from pipelines.core.cli import quiet_libraries
from pipelines.core.errors import PipelineError
from pipelines.core.params import load_params
from pipelines.register.status import RegistryStatus, read_registry_status
from pipelines.run_record import RunRecord, idle_stages, locked_results

_READ_BYTES = 1 << 16
_INTERRUPTED = 130
"""Exit status of a command that Ctrl-C ended, as shells have it."""


def run(root: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> RunRecord:
    """Let DVC bring the pipeline at `root` up to date; show what it prints, and return what it did.

    Args:
        root: the checkout.
        arguments: of `dvc repro`.
        environment: all variables of DVC and the stages.
    """
    record = RunRecord()
    before = locked_results(root)
    command = [sys.executable, "-m", "dvc", "repro", *arguments]
    with _started(command, root, environment) as (child, output):
        try:
            for line in _lines(output):
                record.read(line)
            status = child.wait()
        except KeyboardInterrupt:
            # The terminal sent it to DVC, too.
            child.wait()
            status = _INTERRUPTED
    record.end(status, idle=idle_stages(before, locked_results(root)))
    if status == _INTERRUPTED:
        record.reason = "interrupted (Ctrl-C); started again, a training continues after its last epoch"
    return record


@contextmanager
def _started(
    command: Sequence[str], root: Path, environment: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The command, and the descriptor that its output is read from: a terminal where this one writes to one.

    With a terminal, the progress of a training moves on one line.
    """
    reading, writing = pty.openpty() if sys.stdout.isatty() else os.pipe()
    try:
        if sys.stdout.isatty():
            termios.tcsetwinsize(writing, termios.tcgetwinsize(sys.stdout.fileno()))
        try:
            child = subprocess.Popen(  # noqa: S603 - the command is this file's own
                command, cwd=root, env=dict(environment), stdout=writing, stderr=writing
            )
        finally:
            os.close(writing)
        yield child, reading
    finally:
        os.close(reading)


def _lines(descriptor: int) -> Iterator[str]:
    """Copy everything to standard output, and yield it line by line."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest = ""
    while block := _read(descriptor):
        sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
        *lines, rest = (rest + decoder.decode(block)).split("\n")
        yield from lines
    if rest:
        yield rest


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _READ_BYTES)
    except OSError:
        return b""  # a terminal whose last writer is gone: Linux answers EIO instead of the end of the file


def main() -> None:
    """Run, and say what happened."""
    quiet_libraries()
    root = Path()
    # From before MLflow is asked, which writes its address into this process's own variables.
    environment = _environment()
    before = _before(root)
    record = run(root, sys.argv[1:], environment)

    def ask() -> RegistryStatus:
        return read_registry_status(root, load_params().register_.model)

    print(f"\n{summary.summary(root, record, before=before, ask=ask)}", flush=True)
    sys.exit(record.status)


def _environment() -> dict[str, str]:
    """This process's variables, with this interpreter first on PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    # Into a pipe, Python would keep a stage's lines back until there are many.
    return os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"}


def _before(root: Path) -> RegistryStatus | None:
    try:
        return read_registry_status(root, load_params().register_.model)
    except PipelineError:
        return None  # the stage that needs it fails and says why


if __name__ == "__main__":
    main()
