"""Write the model card: intended use, prohibited use, limits and metrics of a model, as Markdown.

It is stored with the MLflow model version and shown in the report (Mitchell et al., 2019, "Model Cards for
Model Reporting").

    print(render(read_facts(Path(), "lenet")))
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.core import paths
from pipelines.core.manifest import read_manifest
from pipelines.core.model_results import Export, TrainingRecord, read_export, read_training_record
from pipelines.core.results import (
    Crops,
    Evaluation,
    NoveltyScores,
    SetScores,
    Timing,
    read_evaluation,
    read_latencies,
)
from pipelines.core.variants import architecture_of
from pipelines.metrics.attributes import AttributeScores, gaps_of, measures_of
from pipelines.metrics.bootstrap import IntervalEstimate
from pipelines.metrics.summary import BasicScores, ClassScores, TestScores
from pipelines.robustness.corruptions import SEVERITIES
from pipelines.robustness.record import Robustness, read_robustness

# File names that `python -m sample_faces` writes; other data sets do not match by chance.
_SAMPLE_NAME = re.compile(r"^data/(?P<label>[a-z]+)/id\d+_(?P=label)_\d+\.jpg$")

SAMPLE_WARNING = (
    "**Trained on drawings, not for real faces.** The data is the procedural sample that ships with this "
    "project; the figures below show how well the pipeline works and say nothing about people."
)

_INTENDED = (
    "Sorting pictures of single, roughly frontal faces by the *displayed* expression, where a mistake costs "
    "little and a person can correct it: organising media, adapting a game or an installation, research on "
    "expression datasets, teaching how such a system is built and monitored."
)
_FORBIDDEN = (
    "Inferring emotions of people at work or in education. In the EU that is prohibited, except for medical "
    'or safety reasons (Regulation (EU) 2024/1689, "AI Act", Art. 5(1)(f)).',
    "Any other emotion recognition without informing the people concerned: it is high-risk under Annex "
    "III(1)(c) of that act, and Art. 50(3) requires that they are informed.",
    "Hiring, policing, insurance, credit, border control, or any decision about a person.",
)
_LIMITS = (
    "An expression is not a feeling: people smile without joy and are sad without showing it, and what a "
    "face means differs between situations and cultures (Barrett et al., 2019).",
    "Labels are judgements of annotators. Accuracy measures agreement with these judgements.",
    "Skin colour, age, glasses, beards, head pose, light and camera all affect predictions. Evaluate on your "
    "own pictures, group by group, before you rely on the model.",
    "The model also returns a prediction for a picture without a face; its novelty tells only some of them. "
    "Probabilities are calibrated on held-out data and are valid only for similar pictures.",
)


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """Facts about the data."""

    images: Mapping[str, int]
    """Pictures by split."""
    groups: int
    """Number of people (or other groups); equal to the number of pictures if groups are unknown."""
    sample: bool
    """Whether it is the procedural sample."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that the card is made from."""

    training: TrainingRecord
    metrics: Evaluation
    export: Export
    data: DataFacts
    p50_ms: float
    """Median latency at batch 1, one thread."""
    timing: Timing
    """When and where that was measured."""
    robustness: Robustness | None = None
    """Answers to corrupted pictures; None if this file's were not measured."""


def read_facts(root: Path, name: str) -> Facts:
    """Collect the facts about one variant from the results below `root`.

    Raises:
        ManifestCorrupt: the manifest cannot be read.
        ResultCorrupt: a result is missing or damaged.
    """
    manifest = read_manifest(root / paths.MANIFEST)
    latencies, exported = read_latencies(root), read_export(root, name)
    return Facts(
        training=read_training_record(root / paths.training_record(architecture_of(name))),
        metrics=read_evaluation(root, name),
        export=exported,
        data=DataFacts(
            images={str(name): int(count) for name, count in manifest["split"].value_counts().items()},
            groups=int(manifest["group"].nunique()),
            sample=is_sample(manifest["source"]),
        ),
        p50_ms=latencies.models[name].batch_1.p50_ms,
        timing=latencies.timing,
        robustness=_robustness(root, exported.sha256),
    )


def _robustness(root: Path, sha256: str) -> Robustness | None:
    """The result of the stage `robustness`, which measures the selected model only, if it is of this file."""
    found = read_robustness(root) if (root / paths.ROBUSTNESS).exists() else None
    return found if found and found.sha256 == sha256 else None


def is_sample(sources: Iterable[str]) -> bool:
    """Whether every original picture has a file name that the sample generator writes."""
    names = list(sources)
    return bool(names) and all(_SAMPLE_NAME.match(name) for name in names)


def render(facts: Facts) -> str:
    """Render the complete card as Markdown."""
    return "\n\n".join((*_purpose(facts), *_figures(facts))) + "\n"


def render_short(facts: Facts) -> str:
    """Render the part that every user of the model must know, without metrics and data."""
    return "\n\n".join(_purpose(facts)) + "\n"


def _purpose(facts: Facts) -> Iterator[str]:
    classes = facts.training.classes
    yield f"# {facts.metrics.title}: {len(classes)} expressions"
    if facts.data.sample:
        yield f"> {SAMPLE_WARNING}"
    yield f"Predicts, for one face, the probability of each of: {', '.join(classes)}."
    yield f"## Intended use\n\n{_INTENDED}"
    yield f"## Not for\n\n{_list(_FORBIDDEN)}"
    yield f"## Limits\n\n{_list(_LIMITS)}"


def _figures(facts: Facts) -> Iterator[str]:
    yield f"## Metrics on the test pictures\n\n{_overall(facts.metrics.test)}"
    yield _by_class(facts.metrics.classes)
    yield f"## Metrics by slice\n\n{_by_slice(facts.metrics.slices)}"
    if facts.metrics.attributes:
        yield f"## Metrics by group of people\n\n{_by_attribute(facts.metrics.attributes)}"
    if facts.robustness:
        yield f"## Corrupted pictures\n\n{_corrupted(facts.robustness)}"
    yield f"## Whole pictures and face crops\n\n{_crops(facts.metrics.crops)}"
    if facts.metrics.sets is not None:
        yield f"## Prediction sets\n\n{_coverage(facts.metrics.sets)}"
    if facts.metrics.novelty is not None:
        yield f"## Pictures unlike the training's\n\n{_novelty(facts.metrics.novelty)}"
    yield f"## Data\n\n{_data(facts)}"
    yield f"## Model\n\n{_model(facts)}"


def _overall(test: TestScores) -> str:
    rows = [(score.metric.title, score.text(" [{low:.3f}, {high:.3f}]")) for score in test.scores()]
    note = f"{test.images} pictures of {test.groups} people; brackets: 95 % interval, bootstrap by person."
    return f"{table(('metric', 'value'), rows)}\n\n{note}"


def _by_class(classes: Mapping[str, ClassScores]) -> str:
    rows = [
        (
            name,
            *(_number(value) for value in (one.precision, one.recall, one.f1, one.roc_auc)),
            str(one.support),
        )
        for name, one in classes.items()
    ]
    return table(("class", "precision", "recall", "F1", "ROC AUC", "pictures"), rows)


def _by_slice(slices: Mapping[str, Mapping[str, BasicScores]]) -> str:
    rows = [
        (f"{kind}: {part}", str(scores.images), _number(scores.accuracy), _number(scores.macro_f1))
        for kind, parts in slices.items()
        for part, scores in parts.items()
        if scores.images
    ]
    return table(("slice", "pictures", "accuracy", "macro-F1"), rows)


def _by_attribute(attributes: Mapping[str, AttributeScores]) -> str:
    rows = [
        (f"{column}: {value}", str(scores.images), *(_interval(one) for one in measures_of(scores)))
        for column, found in attributes.items()
        for value, scores in found.groups.items()
    ]
    gaps = [
        (f"{column}: largest gap", "", *(_interval(gap) for gap in gaps_of(found)))
        for column, found in attributes.items()
        if found.gaps
    ]
    head = ("group", "pictures", "accuracy", "recall", "false-positive rate")
    note = (
        "Recall and false-positive rate are means over classes; brackets: 95 % interval, bootstrap by person."
        " Attributes were given with the data, not inferred from pictures."
    )
    return f"{table(head, [*rows, *gaps])}\n\n{note}"


def _interval(estimate: IntervalEstimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return _number(estimate.value)
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _corrupted(found: Robustness) -> str:
    worst = found.worst
    return (
        f"{found.images} of these pictures, corrupted in {len(found.corruptions)} ways (blur, noise, low "
        f"light, …) at {len(SEVERITIES)} severities: accuracy {_interval(found.corrupted_accuracy)} compared "
        f"with {_interval(found.clean_accuracy)} without corruption; expected calibration error "
        f"{_interval(found.corrupted_ece)} compared with {_interval(found.clean_ece)}.\n\n"
        f"Worst case: {worst.corruption} at severity {worst.severity}, accuracy {_interval(worst.accuracy)}."
    )


def _crops(crops: Crops) -> str:
    note = (
        f"{crops.detector} finds a face in {crops.found} of {crops.images} test pictures. On these, "
        f"whole and cropped to the largest face with a margin of {crops.margin:g}:"
    )
    rows = [
        (name, _number(scores.accuracy), _number(scores.macro_f1))
        for name, scores in (("whole picture", crops.whole), ("face", crops.face))
    ]
    return f"{note}\n\n{table(('input', 'accuracy', 'macro-F1'), rows)}"


def _coverage(found: SetScores) -> str:
    rows = [
        (name, str(one.images), _number(one.share), f"[{_number(one.low)}, {_number(one.high)}]")
        for name, one in (("all", found.measured), *found.classes.items())
    ]
    return (
        f"A set has {_number(found.mean_size)} classes on average and is to contain the true one with "
        f"probability {found.coverage:g}. Measured on test, with exact 95 % intervals; the nominal coverage "
        "holds for all classes together, not for each:\n\n"
        + table(("true class", "pictures", "coverage", "interval"), rows)
    )


def _novelty(found: NoveltyScores) -> str:
    rows = [("all", _number(found.auroc)), *((kind, _number(value)) for kind, value in found.kinds.items())]
    return (
        "The output `novelty` is the share of validation pictures that are less unlike the training's. AUROC "
        f"of {found.others} pictures without a face (set `{found.non_faces}`) against {found.faces} test "
        f"pictures:\n\n{table(('pictures without a face', 'AUROC'), rows)}\n\n"
        f"Above {found.threshold:g} a picture counts as unfamiliar: {_share(found.unfamiliar_others)} of "
        f"those without a face, {_share(found.unfamiliar_faces)} of the test pictures."
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _data(facts: Facts) -> str:
    images = facts.data.images
    parts = ", ".join(f"{images[split]} for {split}" for split in ("train", "val", "test") if split in images)
    return (
        f"{sum(images.values())} pictures of {facts.data.groups} people, none in two splits: {parts}. "
        "Early stopping and calibration used val; test was used only for the metrics above. "
        f"Dataset `{facts.training.dataset[:12]}`."
    )


def _model(facts: Facts) -> str:
    training, spec = facts.training, facts.training.input
    face = f"cropped to the face ({spec.detector})" if spec.crop == "face" else "the whole picture"
    rows = [
        ("architecture", training.architecture),
        ("started from", f"{_origin(training.weights)} ({training.weights_reason})"),
        ("parameters", f"{training.parameters:,}"),
        ("input", f"{spec.height}×{spec.width} px, {spec.color}, {face}"),
        ("training", f"{training.epochs_run} epochs, best epoch {training.best_epoch}"),
        ("calibration", f"temperature {facts.export.temperature:.3f}"),
        *_sets(facts),
        *([("prediction", "mean of picture and mirror image")] if facts.export.flip_average else []),
        ("file", f"{facts.export.size_bytes / 1e6:.2f} MB ONNX, sha256 `{facts.export.sha256[:12]}`"),
        *_quantized(facts),
        ("latency", f"{facts.p50_ms:.2f} ms, median, batch 1, one thread; {facts.timing}"),
    ]
    return table(("", ""), rows)


def _sets(facts: Facts) -> list[tuple[str, str]]:
    sets = facts.export.sets
    if sets is None:
        return []
    text = (
        f"every class with a probability of at least {sets.threshold:.3f}; "
        f"nominal coverage {sets.coverage:g}, measured on test {sets.measured_coverage:.3f}"
    )
    return [("prediction sets", text)]


def _quantized(facts: Facts) -> list[tuple[str, str]]:
    float_model = facts.export.twin
    if float_model is None:
        return []
    return [
        (
            "quantised",
            f"int8, from the float32 file `{float_model.sha256[:12]}` "
            f"({float_model.size_bytes / 1e6:.2f} MB); same predicted class for "
            f"{float_model.same_answer:.1%} of {float_model.pictures} validation pictures",
        )
    ]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"* {item}" for item in items)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _origin(weights: str) -> str:
    """Where training began, in words; what is not listed is its own name (`imagenet`, `hf:…`)."""
    words = {"scratch": "random weights", "drawn": "weights that were pretrained on drawn faces"}
    return words.get(weights, weights)
