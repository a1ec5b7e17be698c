"""The command line of `python -m serving.score`; imported after OpenCV's pixel limit is set."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from serving.detection.image_reader import FacesMode
from serving.errors import ServingError
from serving.inference.model_slot import LiveModel
from serving.preflight import read_settings
from serving.score.scorer import CHUNK, Scorer, fetched_model, score_folder
from serving.score.shards import ScoringProgress

FAILED, SOME_FAILED, INTERRUPTED = 1, 3, 130
"""Exit statuses; the last one is the shell's for Ctrl-C."""
_CACHE = "scoring"


def main() -> None:
    """Score the folder that the command line names."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        settings = read_settings()
        with fetched_model(settings, arguments.model or settings.model, cache=_CACHE) as found:
            live = found.live
        for warning in found.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        scorer = Scorer.configured(settings, live, faces=arguments.faces, embedding=arguments.embedding)
        begun = time.monotonic()
        with _bar() as notify:
            result = score_folder(
                scorer, arguments.folder, arguments.out, chunk=arguments.chunk, notify=notify
            )
    except ServingError as error:
        print(error, file=sys.stderr)
        raise SystemExit(FAILED) from None
    except KeyboardInterrupt:
        print("stopped; run the same command again to continue", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    print(_summary(result, arguments.out, live, time.monotonic() - begun))
    raise SystemExit(SOME_FAILED if result.failed else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Score a folder of pictures with the service's model.")
    parser.add_argument("folder", type=_path, help="looked through to any depth; hidden files are left out")
    parser.add_argument("--out", type=_path, required=True, help="Parquet file that is written")
    parser.add_argument("--model", help="models:/… or a path; MIEN_MODEL without it")
    parser.add_argument("--faces", choices=get_args(FacesMode), default="auto", help="as ?faces= of /detect")
    parser.add_argument("--embedding", action="store_true", help="also the model's features of each picture")
    parser.add_argument("--chunk", type=_positive, default=CHUNK, help="files between two saves")
    return parser


def _path(text: str) -> Path:
    """Read a path; an empty name, which pathlib takes for the working directory, is refused."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty, expected a path")
    return Path(text)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


@contextmanager
def _bar() -> Iterator[Callable[[ScoringProgress], None]]:
    """Show a progress bar on a terminal; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), MofNCompleteColumn(), "{task.fields[failed]}", TimeElapsedColumn())
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None, failed="")

        def notify(progress: ScoringProgress) -> None:
            failed = f"{progress.failed} failed" if progress.failed else ""
            bar.update(task, total=progress.files, completed=progress.done, failed=failed)

        yield notify


def _summary(result: ScoringProgress, out: Path, live: LiveModel, seconds: float) -> str:
    identity = live.identity
    failed = f", {result.failed} of them with a problem" if result.failed else ""
    sample = " (trained on drawings: a demonstration, not for real faces)" if identity.sample else ""
    return (
        f"{out}: {result.done} files{failed}, by version {identity.version} of {identity.name}{sample}, "
        f"{seconds:.1f} s"
    )
