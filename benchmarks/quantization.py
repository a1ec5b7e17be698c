"""`python -m benchmarks.quantization [--architectures A …]`: the search for int8 settings; 6 minutes for all.

For each architecture the exported model is quantised in a dozen ways, and each result is compared with its
float model: how much faster it is (one picture, one thread, in turn in one process, median of the rounds'
own ratios), how large, and what accuracy and the worst class's recall it loses on the test pictures. The
fastest one that keeps to `selection`'s limits on the *validation* pictures is marked; copy it into
`quantization.A` of conf/base.yaml by hand. The command writes to the terminal only.

    --recorded            only what params.yaml records: the table of docs/benchmarks.md, a minute
    --operators           time by operator, before and after
    --onnx, --prepared    of another run, such as one on FER2013
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.operators import operator_times
from pipelines.core.cli import quiet_libraries
from pipelines.core.errors import PipelineError
from pipelines.core.params import Params, QuantizationParams, load_params
from pipelines.core.variants import int8_of
from pipelines.export.pictures import in_batches, read_split
from pipelines.model.predict import open_model
from pipelines.quantize import conversion
from pipelines.quantize.calibration import Range
from pipelines.quantize.stage import validation_pictures
from serving.contract import Image, ModelContract
from serving.inference.onnx_classifier import OnnxClassifier

_ROUNDS = 60
# Of each turn the fastest of three calls: on a busy machine the others were interrupted.
_CALLS = 3
_OPERATORS = 8


@dataclass(frozen=True)
class Scored:
    """One model's metrics on labelled pictures."""

    accuracy: float
    recalls: NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """One architecture's float model and what every candidate is compared with."""

    name: str
    content: bytes
    prepared: Any
    """The float graph that is quantised."""
    twin: OnnxClassifier
    seen: Image
    """For ranges."""
    splits: Mapping[str, tuple[Image, NDArray[np.int64]]]
    scores: Mapping[str, Scored]

    @property
    def contract(self) -> ModelContract:
        """Of the int8 variant."""
        return replace(self.twin.contract, architecture=int8_of(self.name))


@dataclass(frozen=True)
class Candidate:
    """One way to quantise it, measured."""

    settings: QuantizationParams
    content: bytes
    seconds: float
    """To make it, without preparing the graph and seeing activations, which candidates share."""
    speed_up: float
    float_ms: float
    int8_ms: float
    losses: Mapping[str, tuple[float, float]]
    """Split → accuracy lost, recall lost in the worst class."""


def main() -> None:
    """Search and print."""
    arguments = _arguments()
    quiet_libraries()
    params = load_params()
    summary = []
    for name in arguments.architectures or params.architectures:
        try:
            subject = _subject(arguments.onnx / name / "model.onnx", arguments.prepared, params, name)
        except PipelineError as error:
            print(f"{name}: {error}")
            continue
        recorded = params.quantization_of(name)
        wanted = [recorded] if arguments.recorded else list(_grid(subject, recorded))
        found = list(_measured(subject, wanted, rounds=arguments.rounds))
        if not arguments.recorded:
            print(_table(subject, found, recorded=recorded, chosen=_chosen(found, params)), flush=True)
        summary.append((subject, next(one for one in found if one.settings == recorded)))
        if arguments.operators:
            _print_operators(*summary[-1])
    print(_summary(summary))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Search for int8 settings.")
    parser.add_argument("--architectures", nargs="+", help="all of params.yaml without it")
    parser.add_argument("--recorded", action="store_true", help="only the recorded settings")
    parser.add_argument("--operators", action="store_true", help="where the time goes")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--onnx", type=Path, default=Path("onnx"))
    parser.add_argument("--prepared", type=Path, default=Path("prepared"))
    return parser.parse_args()


def _subject(path: Path, prepared: Path, params: Params, name: str) -> Subject:
    twin = open_model(path)
    manifest = prepared / "manifest.parquet"
    splits = {}
    for split in ("val", "test"):
        part = read_split(manifest, split, classes=twin.contract.classes)
        splits[split] = (np.concatenate(list(in_batches(part.paths))), part.labels)
    content = path.read_bytes()
    return Subject(
        name=name,
        content=content,
        prepared=conversion.prepared(content, name),
        twin=twin,
        seen=validation_pictures(manifest, twin.contract, count=params.quantization_of(name).pictures),
        splits=splits,
        scores={split: _score(twin, *pair) for split, pair in splits.items()},
    )


def _grid(subject: Subject, recorded: QuantizationParams) -> Iterator[QuantizationParams]:
    """Candidates: the recorded settings, and plain ones with one change each."""
    operators = {node.op_type for node in subject.prepared.graph.node}
    plain = recorded.model_copy(
        update={"keep_float": ["first", "last"], "per_channel": True, "ranges": "minmax"}
    )
    kept: list[list[str]] = [["last"], ["stem", "last"], ["first", "head"], ["first", "last", "heatmap"]]
    if "Sigmoid" in operators:
        kept += [
            ["first", "last", "swish"],
            ["first", "last", "squeeze"],
            ["stem", "last", "swish", "squeeze"],
        ]
    other = "products" if recorded.scope == "graph" else "graph"
    changes: list[dict[str, Any]] = [
        {},
        {"per_channel": False},
        {"ranges": "percentile"},
        {"ranges": "entropy"},
        *({"keep_float": rules} for rules in kept),
        {"scope": other},
    ]
    tried = [recorded, *(plain.model_copy(update=change) for change in changes)]
    yield from (one for index, one in enumerate(tried) if one not in tried[:index])


def _measured(subject: Subject, wanted: Sequence[QuantizationParams], *, rounds: int) -> Iterator[Candidate]:
    ranges: dict[tuple[str, str], dict[str, Range]] = {}
    for settings in wanted:
        nodes = conversion.chosen(subject.prepared, settings)
        key = (settings.scope, settings.ranges)
        if key not in ranges:
            # Seen once for everything that any rule could leave in eight bits.
            widest = conversion.chosen(subject.prepared, settings.model_copy(update={"keep_float": []}))
            ranges[key] = conversion.observed(
                subject.prepared, widest, subject.seen, settings=settings, architecture=subject.name
            )
        start = time.perf_counter()
        content = conversion.written(
            subject.prepared,
            subject.contract,
            nodes=nodes,
            ranges=ranges[key],
            per_channel=settings.per_channel,
        )
        seconds = time.perf_counter() - start
        yield _candidate(subject, settings, content, seconds, rounds=rounds)


def _candidate(
    subject: Subject, settings: QuantizationParams, content: bytes, seconds: float, *, rounds: int
) -> Candidate:
    path = Path(f".mien/benchmarks/{subject.name}-int8.onnx")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    quantized = open_model(path)
    path.unlink()
    times = _turns([subject.twin, quantized], subject.splits["test"][0], rounds=rounds)
    losses = {}
    for split, pair in subject.splits.items():
        found, twin = _score(quantized, *pair), subject.scores[split]
        worst = float(np.nanmax(twin.recalls - found.recalls))
        losses[split] = (twin.accuracy - found.accuracy, worst)
    return Candidate(
        settings=settings,
        content=content,
        seconds=seconds,
        speed_up=statistics.median(slow / fast for slow, fast in zip(*times, strict=True)),
        float_ms=statistics.median(times[0]),
        int8_ms=statistics.median(times[1]),
        losses=losses,
    )


def _turns(models: Sequence[OnnxClassifier], pictures: Image, *, rounds: int) -> list[list[float]]:
    """Ms of one picture for each model and round, models in turn, who begins alternating."""
    times: list[list[float]] = [[] for _ in models]
    for model in models:
        for _ in range(5):
            model.predict(pictures[:1])
    for number in range(rounds):
        picture = pictures[number % len(pictures)][np.newaxis]
        order = list(enumerate(models))
        for index, model in order if number % 2 else reversed(order):
            model.predict(picture)
            times[index].append(min(_timed_ms(model, picture) for _ in range(_CALLS)))
    return times


def _timed_ms(model: OnnxClassifier, picture: Image) -> float:
    start = time.perf_counter_ns()
    model.predict(picture)
    return (time.perf_counter_ns() - start) / 1e6


def _score(model: OnnxClassifier, pictures: Image, labels: NDArray[np.int64]) -> Scored:
    right = model.predict(pictures).probabilities.argmax(axis=1) == labels
    classes = range(len(model.contract.classes))
    recalls = [right[labels == one].mean() if (labels == one).any() else np.nan for one in classes]
    return Scored(accuracy=float(right.mean()), recalls=np.array(recalls))


def _chosen(found: Sequence[Candidate], params: Params) -> Candidate | None:
    """The fastest that keeps to the limits on validation pictures; the test split only reports."""
    limits = (params.selection.max_accuracy_drop, params.selection.max_class_drop)
    faithful = [
        one
        for one in found
        if all(lost <= most + 1e-9 for lost, most in zip(one.losses["val"], limits, strict=True))
    ]
    return max(faithful, key=lambda one: one.speed_up, default=None)


def _table(
    subject: Subject,
    found: Sequence[Candidate],
    *,
    recorded: QuantizationParams,
    chosen: Candidate | None,
) -> str:
    counts = {split: len(labels) for split, (_, labels) in subject.splits.items()}
    lines = [
        f"\n## {subject.name}: float32 {subject.scores['test'].accuracy:.4f} on {counts['test']} pictures, "
        f"{found[0].float_ms:.3f} ms, {len(subject.content) / 1e6:.1f} MB",
        "",
        f"|  | scope | keep_float | scales | ranges | × | ms | size | lost on test: all, worst class | "
        f"lost on {counts['val']} val | made in |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in sorted(found, key=lambda one: -one.speed_up):
        marks = ("→" if one is chosen else "") + ("recorded" if one.settings == recorded else "")
        settings = one.settings
        lines.append(
            f"| {marks} | {settings.scope} | {' '.join(settings.keep_float)} "
            f"| {'channel' if settings.per_channel else 'tensor'} | {settings.ranges} "
            f"| {one.speed_up:.2f} | {one.int8_ms:.3f} | {len(one.content) / len(subject.content):.3f} "
            f"| {_lost(one, 'test')} | {_lost(one, 'val')} | {one.seconds:.1f} s |"
        )
    return "\n".join(lines)


def _summary(found: Sequence[tuple[Subject, Candidate]]) -> str:
    lines = [
        "\n## The recorded settings",
        "",
        "| architecture | float32 ms | int8 ms | × | size | float32 accuracy | lost: all, worst class |",
        "|---|---|---|---|---|---|---|",
    ]
    for subject, one in found:
        lines.append(
            f"| `{subject.name}` | {one.float_ms:.3f} | {one.int8_ms:.3f} | {one.speed_up:.2f} "
            f"| {len(one.content) / len(subject.content):.2f} | {subject.scores['test'].accuracy:.3f} "
            f"| {_lost(one, 'test')} |"
        )
    return "\n".join(lines)


def _lost(one: Candidate, split: str) -> str:
    overall, worst = one.losses[split]
    return f"{100 * overall:+.1f}, {100 * worst:+.1f}"


def _print_operators(subject: Subject, one: Candidate) -> None:
    pictures = subject.splits["test"][0][:50]
    rewritten: bytes = subject.prepared.SerializeToString()
    for what, content in (
        ("float32", subject.content),
        ("float32, rewritten", rewritten),
        ("int8", one.content),
    ):
        times = operator_times(content, pictures)
        total = sum(us for _, us in times.values())
        longest = list(times.items())[:_OPERATORS]
        print(
            f"{subject.name}, {what}: {total:.0f} µs in "
            + ", ".join(f"{operator} {us:.0f} ({count})" for operator, (count, us) in longest),
            flush=True,
        )


if __name__ == "__main__":
    main()
