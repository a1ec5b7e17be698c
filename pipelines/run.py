"""Run `dvc repro` and print a summary: `python -m pipelines.run [--jobs N] [arguments of dvc repro]`.

The output of DVC and of the stages is passed through unchanged. The exit status is that of DVC. With N > 1
the stages of N networks run at the same time; without `--jobs` and other arguments they do so if two or more
networks were never evaluated here, as in a fresh clone.
"""

from __future__ import annotations

import argparse
import codecs
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines import parallel, summary
from pipelines.core.cli import child_environment, quiet_libraries
from pipelines.core.errors import PipelineError
from pipelines.core.params import load_params
from pipelines.register.status import RegistryStatus, read_registry_status
from pipelines.run_record import RunRecord, idle_stages, locked_results

_READ_BYTES = 1 << 16
_INTERRUPTED = 130
"""Exit status of a command ended by Ctrl-C, as in shells."""
_CONTINUES = "interrupted (Ctrl-C); the next run continues training after the last complete epoch"


def run(root: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> RunRecord:
    """Run `dvc repro` at `root`, show its output and return a record of the stages.

    Args:
        root: the checkout.
        arguments: arguments of `dvc repro`.
        environment: all environment variables of DVC and the stages.
    """
    record = RunRecord()
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
    record.end(status)
    if status == _INTERRUPTED:
        record.reason = _CONTINUES
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


def reproduce(
    root: Path, arguments: Sequence[str], environment: Mapping[str, str], *, jobs: int | None
) -> RunRecord:
    """Bring every stage up to date, those of several networks at the same time if there is reason to.

    Args:
        root: the checkout.
        arguments: arguments of `dvc repro`.
        environment: all environment variables of DVC and the stages.
        jobs: networks at the same time; None: see the beginning of this file.
    """
    record, before = RunRecord(), locked_results(root)
    networks = parallel.read_network_stages(root)
    if jobs is None:
        several = not arguments and len(parallel.without_results(root, networks)) > 1
        jobs = parallel.default_jobs() if several else 1
    if jobs > 1 and networks.networks:
        try:
            record.add(parallel.run_networks(root, networks, environment, jobs=jobs))
        except KeyboardInterrupt:
            record.status, record.reason = _INTERRUPTED, _CONTINUES
    if record.status in (None, 0):
        record.add(run(root, arguments, environment))
    record.note_idle(idle_stages(before, locked_results(root)))
    return record


def main() -> None:
    """Run the pipeline and print the summary."""
    quiet_libraries()
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.run",
        description="`dvc repro`, then a summary of its results.",
        epilog="Other arguments are those of `dvc repro` (see `dvc repro --help`).",
    )
    parser.add_argument(
        "--jobs", type=_positive, metavar="N", help="networks at the same time (several in a fresh clone)"
    )
    options, arguments = parser.parse_known_args()
    root = Path()
    # Copied before MLflow is used, which writes its URI into this process's environment.
    environment = child_environment()
    before = _before(root)
    record = reproduce(root, arguments, environment, jobs=options.jobs)

    def ask() -> RegistryStatus:
        return read_registry_status(root, load_params().register_.model)

    print(f"\n{summary.summary(root, record, before=before, ask=ask)}", flush=True)
    sys.exit(record.status)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {number}, expected 1 or more")
    return number


def _before(root: Path) -> RegistryStatus | None:
    try:
        return read_registry_status(root, load_params().register_.model)
    except PipelineError:
        return None  # the stage that needs the registry fails with the reason


if __name__ == "__main__":
    main()
