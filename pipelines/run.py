"""Run `dvc repro` and print a summary: `python -m pipelines.run [arguments of dvc repro]`.

The output of DVC and of the stages is passed through unchanged. The exit status is that of DVC.
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
"""Exit status of a command ended by Ctrl-C, as in shells."""


def run(root: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> RunRecord:
    """Run `dvc repro` at `root`, show its output and return a record of the stages.

    Args:
        root: the checkout.
        arguments: arguments of `dvc repro`.
        environment: all environment variables of DVC and the stages.
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
            # The terminal also sent the signal to DVC.
            child.wait()
            status = _INTERRUPTED
    record.end(status, idle=idle_stages(before, locked_results(root)))
    if status == _INTERRUPTED:
        record.reason = "interrupted (Ctrl-C); the next run continues training after the last complete epoch"
    return record


@contextmanager
def _started(
    command: Sequence[str], root: Path, environment: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start the command; yield its process and the file descriptor to read its output from.

    If standard output is a terminal, the command writes to a pseudo-terminal, so that training can update
    its progress on one line.
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
    """Copy the output to standard output, and yield it line by line."""
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
        return b""  # on Linux a terminal without writers fails with EIO instead of signalling end of file


def main() -> None:
    """Run the pipeline and print the summary."""
    quiet_libraries()
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(
            "`dvc repro`, then a summary of its results. The arguments are those of `dvc repro`:\n",
            flush=True,
        )
        sys.exit(subprocess.call([sys.executable, "-m", "dvc", "repro", "--help"]))
    root = Path()
    # Copied before MLflow is used, which writes its URI into this process's environment.
    environment = _environment()
    before = _before(root)
    record = run(root, sys.argv[1:], environment)

    def ask() -> RegistryStatus:
        return read_registry_status(root, load_params().register_.model)

    print(f"\n{summary.summary(root, record, before=before, ask=ask)}", flush=True)
    sys.exit(record.status)


def _environment() -> dict[str, str]:
    """Return this process's environment with this interpreter first on PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    # Without this, Python buffers a stage's lines when it writes to a pipe.
    return os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"}


def _before(root: Path) -> RegistryStatus | None:
    try:
        return read_registry_status(root, load_params().register_.model)
    except PipelineError:
        return None  # the stage that needs the registry fails with the reason


if __name__ == "__main__":
    main()
