"""`make benchmark`, or `python -m benchmarks.report [PART …] [--quick]`: every figure of docs/benchmarks.md.

Runs the benchmarks one after another and rewrites the marked parts of docs/benchmarks.md and its two plots,
each as soon as it is there; other text stays. Goal: under 40 minutes on two otherwise idle cores
(docs/benchmarks.md has the duration); the load is recorded. If a benchmark
fails, its part is unchanged and the exit status is 1. `--quick` runs everything in a few minutes and
writes nothing unless `--docs` names a file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.blocks import rewrite
from benchmarks.peers.results import as_rows
from benchmarks.plots import write_models, write_throughput
from pipelines.core.paths import COMPARISON

DOCS = Path("docs/benchmarks.md")
OWN_COMMANDS = {"soak": "benchmarks.soak"}
"""Marked parts of the page that this command does not fill, and the module that does: they take too long."""
_LIMIT_S = 1800.0
"""Of one part: what takes longer hangs."""
_PACKAGES = (
    "tensorflow",
    "keras",
    "onnxruntime",
    "opencv-python-headless",
    "numpy",
    "fastapi",
    "uvicorn",
    "mlflow",
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One marked part and the command that fills it."""

    name: str
    command: tuple[str, ...]
    """Behind `python -m`."""
    quick: tuple[str, ...]
    """Added to it by `--quick`."""
    markdown: bool = True
    """Whether it prints Markdown; otherwise its output is shown as it is."""
    result: bool = False
    """Whether it writes its figures to `--json FILE`, for a plot."""


PARTS = (
    Part(name="peers", command=("benchmarks.peers",), quick=("--quick",), result=True),
    Part(name="default_path", command=("benchmarks.peers.default_path",), quick=("--quick",)),
    Part(name="open_loop", command=("benchmarks.peers.open_loop",), quick=("--quick",)),
    Part(name="serving", command=("benchmarks.serving",), quick=("--quick", "mobilenet_v2")),
    Part(
        name="int8",
        command=("benchmarks.quantization", "--recorded"),
        quick=("--architectures", "lenet", "--rounds", "5"),
    ),
    Part(name="difficulty", command=("benchmarks.difficulty",), quick=()),
    Part(name="pipeline", command=("benchmarks.pipeline",), quick=("--quick",)),
    Part(name="scale", command=("benchmarks.scale",), quick=("--quick",)),
    Part(name="training", command=("benchmarks.training",), quick=("--rounds", "1"), markdown=False),
)
_MODELS, _MACHINE = "models", "machine"


def main() -> None:
    """Run what the command line names, everything without."""
    names = [_MACHINE, _MODELS, *(part.name for part in PARTS)]
    parser = argparse.ArgumentParser(description="Run the benchmarks and rewrite docs/benchmarks.md.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="whether everything runs, not how fast it is")
    parser.add_argument(
        "--docs", type=Path, help=f"the file to rewrite; plots go to images/ beside it ({DOCS})"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(names):
        parser.error(f"got {', '.join(sorted(unknown))}, expected some of {', '.join(names)}")
    docs = arguments.docs or (None if arguments.quick else DOCS)
    report = Report(docs, commit=machine.commit(), quick=arguments.quick)
    failed = list(report.run(arguments.parts or names))
    if failed:
        sys.exit(f"error: {', '.join(failed)} failed; the other parts are new")


class Report:
    """One run over some parts."""

    def __init__(self, docs: Path | None, *, commit: str, quick: bool) -> None:
        self._docs = docs
        # Taken once: the first part that is rewritten makes the tree dirty.
        self._commit = commit
        self._quick = quick

    def run(self, names: Sequence[str]) -> Iterator[str]:
        """Fill these parts; the names of those that failed."""
        if _MACHINE in names:
            self._write(_MACHINE, f"{machine.machine()}; {machine.versions(_PACKAGES)}.")
        for part in PARTS:
            if part.name in names and not self._fill(part):
                yield part.name
        if _MODELS in names and not self._models():
            yield _MODELS

    def _fill(self, part: Part) -> bool:
        arguments = [*part.command, *(part.quick if self._quick else ())]
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder) / "result.json"
            extra = ["--json", str(result)] if part.result else []
            before, begun = machine.load(), time.monotonic()
            output = _output([sys.executable, "-m", *arguments, *extra])
            if output is None:
                return False
            note = noted(
                arguments, self._commit, loads=(before, machine.load()), seconds=time.monotonic() - begun
            )
            self._write(part.name, f"{note}\n\n{shown(output, markdown=part.markdown)}")
            if part.result and self._docs:
                rows = as_rows(json.loads(result.read_text(encoding="utf-8")))
                write_throughput(rows, self._docs.parent / "images/benchmark-serving.svg")
        return True

    def _models(self) -> bool:
        """What `make run` recorded: nothing is measured here."""
        if not COMPARISON.is_file():
            print(f"{COMPARISON} is not there: run `make run`", file=sys.stderr)
            return False
        rows = json.loads(COMPARISON.read_text(encoding="utf-8"))["rows"]
        self._write(_MODELS, "\n".join(model_table(rows)))
        if self._docs:
            classes = len(json.loads(Path("prepared/dataset.json").read_text(encoding="utf-8"))["classes"])
            write_models(rows, self._docs.parent / "images/benchmark-models.svg", classes=classes)
        return True

    def _write(self, name: str, content: str) -> None:
        print(f"\n--- {name}\n{content}", flush=True)
        if self._docs:
            rewrite(self._docs, name, content)


def noted(arguments: Sequence[str], commit: str, *, loads: tuple[float, float], seconds: float) -> str:
    """How and when a part was made: command, commit, load of the machine, duration."""
    at = f" at {commit}" if commit else ""
    before, after = loads
    return (
        f"`python -m {' '.join(arguments)}`{at}, {seconds / 60:.1f} min; load of the machine "
        f"before {before:.1f}, after {after:.1f}."
    )


def shown(output: str, *, markdown: bool) -> str:
    """A benchmark's output as part of the page: headings are the page's own, plain text stands in a block."""
    lines = [line for line in output.splitlines() if not (markdown and line.startswith("#"))]
    text = "\n".join(lines).strip("\n")
    return text if markdown else f"```\n{text}\n```"


def model_table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Lines of Markdown: each architecture, float and int8, the best first."""
    int8 = {row["twin"]: row for row in rows if row["twin"]}
    yield "| | accuracy (95 %) | macro-F1 (95 %) | p50 ms | int8: accuracy | p50 ms | times as fast | MB |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in (row for row in rows if not row["twin"]):
        other = int8.get(row["architecture"])
        cells = [f"`{row['architecture']}`", _interval(row, "accuracy"), _interval(row, "macro_f1")]
        cells += [f"{row['p50_ms']:.2f}", *(_int8_cells(other) if other else ("–", "–", "–"))]
        size = f"{row['size_mb']:.1f}" + (f" → {other['size_mb']:.1f}" if other else "")
        yield f"| {' | '.join([*cells, size])} |"


def _int8_cells(row: dict[str, Any]) -> tuple[str, str, str]:
    return f"{row['accuracy']:.3f}", f"{row['p50_ms']:.2f}", f"{row['speed_up']:.2f}"


def _interval(row: dict[str, Any], name: str) -> str:
    return f"{row[name]:.3f} ({row[f'{name}_low']:.2f}–{row[f'{name}_high']:.2f})"


def _output(command: Sequence[str]) -> str | None:
    """What it printed; its errors go to the terminal. None when it failed."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        output, _ = process.communicate(timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        print(f"{' '.join(command)} took more than {_LIMIT_S / 60:.0f} minutes", file=sys.stderr)
        # Not killed: it has servers to end.
        process.terminate()
        process.communicate()
        return None
    return output if process.returncode == 0 else None


if __name__ == "__main__":
    main()
