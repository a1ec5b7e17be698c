"""`python -m benchmarks.pipeline [--quick]`: duration of each part of `make run`; 8 to 20 minutes.

In a clone of the repository in a temporary folder, with the outputs out of DVC's cache (so `make run` has to
have run): `dvc repro` with nothing changed, then every stage by itself with a clock in it. Networks are
trained for `--epochs` epochs at most; what an epoch costs besides `fit` is projected to all of params.yaml.
It prints Markdown tables. Expected: at most 60 s per architecture beyond its bare `fit`. `--quick`: one
epoch, one architecture.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.clock import PARTS

GOAL_S = 60.0
"""Wanted: wall time per architecture beyond its bare `fit`, seconds."""
_PER_ARCHITECTURE = ("export", "quantize", "evaluate")
_OTHERS = (
    "prepare",
    "validate",
    "weights",
    "machine",
    "latency",
    "compare",
    "robustness",
    "explain",
    "gate",
    "report",
    "register",
)
_DATABASE = "mlflow.db"


@dataclass(frozen=True, kw_only=True)
class Times:
    """Of one stage that ran once, seconds."""

    wall: float
    parts: Mapping[str, float]
    """By the names of `clock.PARTS`, and `cpu`."""
    calls: Mapping[str, Sequence[float]]
    """Of each call of what the clock knows."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """Of one architecture, here and as params.yaml has it."""

    times: Times
    epochs: int
    """That ran here."""
    of: int
    """At most, by params.yaml."""

    @property
    def fit(self) -> float:
        """Of all epochs, seconds: the floor."""
        return self._projected("Model.fit")

    @property
    def beyond(self) -> float:
        """What all epochs take besides, seconds: each its predictions, checkpoint and log, the rest once."""
        here = self.times.wall - sum(self.times.calls["Model.fit"])
        names = ("Model.predict", "CheckpointFile.save", "RunLog.epoch")
        return here + sum(self._projected(name) - sum(self.times.calls[name]) for name in names)

    def _projected(self, name: str) -> float:
        """The first call as it was, for it compiles; the others as the median of the later ones."""
        first, *later = self.times.calls[name]
        return first + (self.of - 1) * statistics.median(later or [first])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Duration of each part of `make run`.")
    parser.add_argument("--epochs", type=int, default=2, help="of each training, at most")
    parser.add_argument("--quick", action="store_true", help="one epoch, one architecture")
    arguments = parser.parse_args()
    root = Path.cwd()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / "copy"
        environment = _copied(root, copy)
        _unchanged(copy, environment)
        architectures = _shortened(copy, 1 if arguments.quick else arguments.epochs)
        if arguments.quick:
            architectures = dict(list(architectures.items())[:1])
        _report(copy, environment, architectures)


def _copied(root: Path, copy: Path) -> dict[str, str]:
    """A clone with every output in it; the environment for its stages."""
    subprocess.run(["git", "clone", "--quiet", "--local", str(root), str(copy)], check=True)
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{copy.parent}/{_DATABASE}",
        "DVC_NO_ANALYTICS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    cache = root / ".dvc/cache"
    command = ["dvc", "cache", "dir", "--local", str(cache)]
    subprocess.run(command, cwd=copy, env=environment, check=True, capture_output=True)
    done = subprocess.run(["dvc", "checkout"], cwd=copy, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: the outputs of `make run` are not in DVC's cache: {done.stderr.strip()}")
    return environment


def _shortened(copy: Path, epochs: int) -> dict[str, int]:
    """Limit the copy's params.yaml to `epochs` epochs; return the former number by architecture."""
    file = copy / "params.yaml"
    params = yaml.safe_load(file.read_text(encoding="utf-8"))
    whole = {}
    for name in params["architectures"]:
        model = params["models"][name]
        whole[name] = int(model["epochs"])
        model["epochs"] = min(epochs, whole[name])
    file.write_text(yaml.safe_dump(params), encoding="utf-8")
    return whole


def _report(copy: Path, environment: Mapping[str, str], architectures: Mapping[str, int]) -> None:
    # Trainings come last, because they replace inputs of the others: `explain` would compare weights of a few
    # epochs with an ONNX file of all of them, and fail.
    rest = {
        name: {stage: _timed(copy, environment, stage, name) for stage in _PER_ARCHITECTURE}
        for name in architectures
    }
    others = {stage: _timed(copy, environment, stage) for stage in _OTHERS}
    trained = {}
    for name, whole in architectures.items():
        times = _timed(copy, environment, "train", name)
        record = json.loads((copy / "models" / name / "training.json").read_text(encoding="utf-8"))
        trained[name] = Training(times=times, epochs=record["epochs_run"], of=whole)
    print("\n".join(training_table(trained)), end="\n\n")
    print("\n".join(architecture_table(trained, rest)), end="\n\n")
    print("\n".join(stage_table(others)), flush=True)


def training_table(trained: Mapping[str, Training]) -> Iterator[str]:
    """Lines of Markdown: seconds of each part of each `train`, as it ran here."""
    columns = (*PARTS[1:-1], "rest")
    yield f"| `train`, s | epochs | wall | {' | '.join(columns)} |"
    yield "|---" * (3 + len(columns)) + "|"
    for name, training in trained.items():
        parts = training.times.parts
        cells = [f"{parts[column] + (parts['start'] if column == 'rest' else 0):.1f}" for column in columns]
        yield f"| `{name}` | {training.epochs} | {training.times.wall:.1f} | {' | '.join(cells)} |"


def architecture_table(
    trained: Mapping[str, Training], rest: Mapping[str, Mapping[str, Times]]
) -> Iterator[str]:
    """Lines of Markdown: bare `fit` of all epochs, and what there is beyond it, in bold above the goal."""
    yield "| s | `fit`, all epochs | `train` beyond | `export` | `quantize` | `evaluate` | together beyond |"
    yield "|---|---|---|---|---|---|---|"
    for name, training in trained.items():
        stages = [rest[name][stage].wall for stage in ("export", "quantize", "evaluate")]
        beyond = training.beyond + sum(stages)
        cells = " | ".join(f"{seconds:.1f}" for seconds in (training.fit, training.beyond, *stages))
        yield f"| `{name}` | {cells} | {_judged(beyond)} |"


def _judged(beyond: float) -> str:
    return f"{beyond:.1f}" if beyond <= GOAL_S else f"**{beyond:.1f}** (wanted: {GOAL_S:.0f})"


def stage_table(stages: Mapping[str, Times]) -> Iterator[str]:
    """Lines of Markdown: the stages that run once."""
    yield "| once | wall s | of it imports | processor s |"
    yield "|---|---|---|---|"
    for name, times in stages.items():
        yield f"| `{name}` | {times.wall:.1f} | {times.parts['import']:.1f} | {times.parts['cpu']:.1f} |"


def _timed(copy: Path, environment: Mapping[str, str], stage: str, *arguments: str) -> Times:
    target = copy.parent / "clock.json"
    command = [sys.executable, "-m", "benchmarks.clock", str(target), f"pipelines.{stage}", *arguments]
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    wall = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(f"error: {stage} {' '.join(arguments)} failed: {done.stderr.strip()[-2000:]}")
    return Times(wall=wall, **json.loads(target.read_text(encoding="utf-8")))


def _unchanged(copy: Path, environment: Mapping[str, str]) -> None:
    """Time `dvc repro` with nothing changed, where everything is up to date."""
    stale = _stale(copy, environment)
    if stale:
        print(f"`dvc repro` without changes: not timed, stale here: {', '.join(sorted(stale))}\n")
        return
    # The first one registers in the copy's own registry, which was empty, and writes the report.
    for _ in range(2):
        begun = time.perf_counter()
        subprocess.run(["dvc", "repro"], cwd=copy, env=environment, check=True, capture_output=True)
        seconds = time.perf_counter() - begun
    print(f"`dvc repro` with nothing changed: {seconds:.1f} s\n", flush=True)


def _stale(copy: Path, environment: Mapping[str, str]) -> set[str]:
    """Stages that have to run, those aside that always do."""
    command = ["dvc", "status", "--json"]
    done = subprocess.run(command, cwd=copy, env=environment, check=True, capture_output=True, text=True)
    status: Mapping[str, Sequence[Any]] = json.loads(done.stdout or "{}")
    return {stage for stage, reasons in status.items() if set(map(str, reasons)) != {"always changed"}}


if __name__ == "__main__":
    main()
