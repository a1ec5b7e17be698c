"""The command line of `python -m serving.score`; imported after OpenCV's pixel limit is set."""

from __future__ import annotations

import argparse
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import get_args

from serving.detection.image_reader import FacesMode
from serving.errors import ServingError
from serving.inference.model_slot import LiveModel
from serving.preflight import read_settings
from serving.score.scorer import CHUNK, Scorer, fetched_model, score_folder
from serving.score.shards import ScoringProgress
from serving.score.video.annotation import check_name, write_annotated
from serving.score.video.clip import Clip
from serving.score.video.page import write_page
from serving.score.video.scoring import CHUNK as CLIP_CHUNK
from serving.score.video.scoring import ClipOptions, score_clip
from serving.score.video.timeline import TIME_CONSTANT_S

FAILED, SOME_FAILED, INTERRUPTED = 1, 3, 130
"""Exit statuses; the last one is the shell's for Ctrl-C."""
_CACHE = "scoring"
_FOLDER_ONLY, _VIDEO_ONLY = {"faces"}, {"annotated", "every", "html", "smoothing"}


def main() -> None:
    """Score the folder or the video that the command line names."""
    parser = _parser()
    arguments = parser.parse_args()
    video = arguments.source.is_file()
    _check_options(parser, arguments, video=video)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        settings = read_settings()
        # Before the model is fetched, which may take minutes.
        clip = Clip.open(arguments.source, max_pixels=settings.max_pixels) if video else None
        if arguments.annotated is not None:
            check_name(arguments.annotated)
        with fetched_model(settings, arguments.model or settings.model, cache=_CACHE) as found:
            live = found.live
        for warning in found.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        faces: FacesMode = "all" if video else arguments.faces or "auto"
        scorer = Scorer.configured(settings, live, faces=faces, embedding=arguments.embedding)
        status = _score_folder(scorer, arguments) if clip is None else _score_clip(scorer, clip, arguments)
    except ServingError as error:
        print(error, file=sys.stderr)
        raise SystemExit(FAILED) from None
    except KeyboardInterrupt:
        print("stopped; run the same command again to continue", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    raise SystemExit(status)


def _score_folder(scorer: Scorer, arguments: argparse.Namespace) -> int:
    begun = time.monotonic()
    with _bar() as notify:
        result = score_folder(
            scorer, arguments.source, arguments.out, chunk=arguments.chunk or CHUNK, notify=notify
        )
    failed = f", {result.failed} of them with a problem" if result.failed else ""
    _print_summary(arguments.out, f"{result.done} files{failed}", scorer.live, time.monotonic() - begun)
    return SOME_FAILED if result.failed else 0


def _score_clip(scorer: Scorer, clip: Clip, arguments: argparse.Namespace) -> int:
    begun = time.monotonic()
    options = ClipOptions(
        every=arguments.every,
        time_constant_s=TIME_CONSTANT_S if arguments.smoothing is None else arguments.smoothing,
        chunk=arguments.chunk or CLIP_CHUNK,
    )
    with _bar() as notify:
        timeline = score_clip(scorer, clip, arguments.out, options, notify=notify)
    if arguments.annotated is not None:
        with _bar() as notify:
            write_annotated(timeline, clip, arguments.annotated, notify=notify)
    if arguments.html is not None:
        write_page(timeline, clip, arguments.html, video=arguments.annotated)
    facts, tracks = timeline.facts, timeline.tracks()
    done = f"{facts.scored} of {facts.frames} frames, {tracks} track{'' if tracks == 1 else 's'}"
    _print_summary(arguments.out, done, scorer.live, time.monotonic() - begun)
    if facts.missing_s:
        print(
            f"{clip.path}: {facts.duration_s:.1f} s could be read, {facts.missing_s:.1f} s are missing "
            "by its header; the file is truncated or damaged, what could be read was scored",
            file=sys.stderr,
        )
    return SOME_FAILED if facts.missing_s else 0


def _print_summary(out: Path, done: str, live: LiveModel, seconds: float) -> None:
    identity = live.identity
    sample = " (trained on drawings: a demonstration, not for real faces)" if identity.sample else ""
    print(f"{out}: {done}, by version {identity.version} of {identity.name}{sample}, {seconds:.1f} s")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Score a folder of pictures, or a video, with the service's model."
    )
    parser.add_argument(
        "source",
        metavar="FOLDER|VIDEO",
        type=_path,
        help="a folder, looked through to any depth without hidden files; or a video file",
    )
    parser.add_argument("--out", type=_path, required=True, help="Parquet file that is written")
    parser.add_argument("--model", help="models:/… or a path; MIEN_MODEL without it")
    parser.add_argument(
        "--embedding", action="store_true", help="also the model's features of each picture or face"
    )
    parser.add_argument("--chunk", type=_positive, help="files or scored frames between two saves")
    folder = parser.add_argument_group("of a folder")
    folder.add_argument("--faces", choices=get_args(FacesMode), help="as ?faces= of /detect; auto without it")
    video = parser.add_argument_group("of a video")
    video.add_argument(
        "--every", type=_positive, metavar="N", help="score every N-th frame; without it about 5 per second"
    )
    video.add_argument(
        "--smoothing",
        type=_seconds,
        metavar="SECONDS",
        help=f"time constant of the smoothed line; {TIME_CONSTANT_S} without it, 0 for none",
    )
    video.add_argument("--html", type=_path, metavar="FILE", help="also a page with a line for each face")
    video.add_argument(
        "--annotated", type=_path, metavar="FILE.webm", help="also a video with boxes and labels"
    )
    return parser


def _check_options(parser: argparse.ArgumentParser, arguments: argparse.Namespace, *, video: bool) -> None:
    given = {name for name, value in vars(arguments).items() if value is not None}
    for name in sorted(given & (_FOLDER_ONLY if video else _VIDEO_ONLY)):
        parser.error(f"--{name} is for a {'folder' if video else 'video'}, {arguments.source} is not one")
    files = [arguments.source, arguments.out, arguments.html, arguments.annotated]
    resolved = [path.resolve() for path in files if path is not None]
    if len(set(resolved)) < len(resolved):
        parser.error("the video, --out, --html and --annotated name the same file, expected different ones")


def _path(text: str) -> Path:
    """Read a path; an empty name, which pathlib takes for the working directory, is refused."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty, expected a path")
    return Path(text)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if math.isfinite(seconds := float(text)) and seconds >= 0:
            return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")


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
