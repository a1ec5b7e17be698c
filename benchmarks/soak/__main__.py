"""`make soak`, or `python -m benchmarks.soak [--minutes 60] [--load 0.7] [--every 60]`: an hour under load.

The real service as it runs by default (one worker, faces searched, observations, drift) follows a registry of
its own in which another of two versions is promoted every minute. Requests arrive at random, at 0.7 of what
one client gets that sends one picture after the other. Every ten seconds it records memory, open files and
threads of each process, rows and size of the database, and what came of the requests. Expected: no request is
lost, every promotion is followed within `MIEN_POLL_S` and some seconds, and the memory of no process grows by
more than 5 % after the first sixth of the run. Otherwise the exit status is 1.

It rewrites its part of docs/benchmarks.md and the plot there if it ran for at least an hour, or the file that
`--docs` names. Ctrl-C ends it early; then it prints what it has and writes nothing.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Never

from benchmarks import machine
from benchmarks.blocks import rewrite, with_block
from benchmarks.models import recorded_or_exported
from benchmarks.report import DOCS, noted
from benchmarks.soak.plot import write_memory
from benchmarks.soak.record import SoakRecord
from benchmarks.soak.run import SoakPlan, run
from benchmarks.soak.table import tables
from benchmarks.soak.verdict import failures
from pipelines.core.paths import onnx_model
from pipelines.core.records import write_record

NAME = "soak"
_MODELS, _SIDE_PX = ("lenet", "vgg"), 64
_MINUTES, _LOAD, _EVERY_S = 60.0, 0.7, 60.0
_SAMPLE_S, _CAPACITY_S = 10.0, 5.0
_SEED = 15


def main() -> None:
    """Run, print, write, and exit by the verdict."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    # Also where a shell started this in the background, with the signal ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    plan = SoakPlan(
        seconds=60 * arguments.minutes,
        share=arguments.load,
        every_s=arguments.every,
        sample_s=arguments.sample,
        capacity_s=arguments.capacity,
        models=[(_title(name), recorded_or_exported(name, side_px=_SIDE_PX)) for name in arguments.models],
        seed=_SEED,
    )
    docs = arguments.docs or (DOCS if plan.seconds >= 60 * _MINUTES else None)
    if docs:
        # Now, not after an hour: whether it has the part that is rewritten.
        with_block(docs.read_text(encoding="utf-8"), NAME, "")
    commit, before = machine.commit(), machine.load()
    temporary = tempfile.TemporaryDirectory(prefix="mien-soak-", ignore_cleanup_errors=True)
    with nullcontext(arguments.folder) if arguments.folder else temporary as folder:
        record = run(plan, Path(folder))
    if arguments.json:
        write_record(arguments.json, record)
    note = noted(_shown(plan), commit, loads=(before, machine.load()), seconds=record.seconds)
    text = f"{note}\n\n" + "\n".join(tables(record))
    print(text, flush=True)
    if docs:
        _publish(docs, record, text)
    if failed := list(failures(record)):
        sys.exit("\n".join(f"error: {failure}" for failure in failed))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="The service for an hour.")
    parser.add_argument("--minutes", type=float, default=_MINUTES, help="duration of the load (60)")
    parser.add_argument("--load", type=float, default=_LOAD, help="share of one client's capacity (0.7)")
    parser.add_argument("--every", type=float, default=_EVERY_S, help="seconds between two promotions (60)")
    parser.add_argument("--models", nargs=2, default=_MODELS, help="two ONNX files or architectures")
    parser.add_argument("--sample", type=float, default=_SAMPLE_S, help="seconds between two samples (10)")
    parser.add_argument(
        "--capacity", type=float, default=_CAPACITY_S, help="seconds of each measurement of it"
    )
    parser.add_argument(
        "--folder", type=Path, help="empty folder for all files, which stay; else a temporary one"
    )
    parser.add_argument("--json", type=Path, help="file for everything that was recorded")
    parser.add_argument("--docs", type=Path, help=f"the file to rewrite; the plot goes to images/ ({DOCS})")
    return parser.parse_args()


def _interrupt(number: int, frame: object) -> Never:
    raise KeyboardInterrupt


def _shown(plan: SoakPlan) -> list[str]:
    """The command line, without what is a default and where files go."""
    settings = {
        "--minutes": (plan.seconds / 60, _MINUTES),
        "--load": (plan.share, _LOAD),
        "--every": (plan.every_s, _EVERY_S),
    }
    changed = [f"{name} {value:g}" for name, (value, default) in settings.items() if value != default]
    return ["benchmarks.soak", *changed]


def _title(model: str) -> str:
    recorded = model.endswith(".onnx") or onnx_model(model).is_file()
    return f"`{Path(model).name}`" + ("" if recorded else " (random weights)")


def _publish(docs: Path, record: SoakRecord, text: str) -> None:
    if record.is_short:
        print(f"{docs} is unchanged: the run was ended early", file=sys.stderr)
        return
    picture = Path("images/benchmark-soak.svg")
    write_memory(record, docs.parent / picture)
    rewrite(docs, NAME, f"{text}\n\n![Memory of the service's processes over the run]({picture})")


if __name__ == "__main__":
    main()
