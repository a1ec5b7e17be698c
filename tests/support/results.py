"""Results of pretended models: what every stage from `train` to `gate` writes about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from pipelines.core.dataset import Dataset
from pipelines.core.model_results import BestEpoch, Export, PhaseEpochs, TrainingRecord
from pipelines.core.params import HeadParams
from pipelines.core.results import Comparison, ComparisonRow, Crops, Evaluation, NoveltyScores
from pipelines.gate.record import GateVerdict, Latency, ProductionModel, Subject
from pipelines.gate.rules import Check
from pipelines.metrics import (
    METRICS,
    BasicScores,
    ClassScores,
    ComparedScores,
    IntervalEstimate,
    TestScores,
)
from pipelines.robustness.corruptions import CORRUPTIONS, SEVERITIES
from pipelines.robustness.record import Robustness, WorstCase
from tests.support.timings import TIMING

CROPS = Crops(
    detector="haar",
    margin=0.15,
    images=24,
    found=8,
    whole=BasicScores(images=8, accuracy=0.9, macro_f1=None),
    face=BasicScores(images=8, accuracy=0.75, macro_f1=None),
)

NOVELTY = NoveltyScores(
    non_faces="drawn-1",
    auroc=0.9375,
    kinds={"backdrops": 0.9, "noise": 0.975},
    faces=24,
    others=80,
    threshold=0.99,
    unfamiliar_faces=0.0125,
    unfamiliar_others=0.6875,
)


def evaluation(
    name: str,
    *,
    classes: Mapping[str, float | None] | None = None,
    parameters: int = 1234,
    size_mb: float = 0.01,
    **test: Any,
) -> Evaluation:
    """Metrics of a variant: all are 0.9 with an interval from 0.8 to 0.8, apart from those given.

    Args:
        name: of the variant.
        classes: recall by class.
        parameters: of the network.
        size_mb: of the file.
        test: values of `TestScores`.
    """
    part = BasicScores(images=8, accuracy=0.9, macro_f1=None)
    ends = dict.fromkeys(("accuracy_low", "accuracy_high", "macro_f1_low", "macro_f1_high"), 0.8)
    return Evaluation(
        architecture=name,
        title=name.title(),
        weights="scratch",
        parameters=parameters,
        size_mb=size_mb,
        test=TestScores(**{"images": 24, "groups": 8, **dict.fromkeys(METRICS, 0.9), **ends, **test}),
        val=BasicScores(images=6, accuracy=0.9, macro_f1=0.9),
        classes={
            label: ClassScores(precision=0.9, recall=recall, f1=0.9, roc_auc=0.95, support=8)
            for label, recall in (classes or {"happy": 0.9, "sad": 0.9}).items()
        },
        slices={"brightness": dict.fromkeys(("low", "middle", "high"), part)},
        crops=CROPS,
    )


def row(measured: Evaluation, *, p50_ms: float = 2.5, **changes: Any) -> ComparisonRow:
    """One row of the comparison, of a float32 model that can be selected."""
    values = {
        **{name: getattr(measured, name) for name in ("architecture", "title", "weights")},
        **{name: getattr(measured, name) for name in ("size_mb", "parameters")},
        **{field.name: getattr(measured.test, field.name) for field in fields(ComparedScores)},
        "p50_ms": p50_ms,
        "p95_ms": 1.2 * p50_ms,
        "batch_16_p50_ms": 11 * p50_ms,
        "twin": None,
        "speed_up": None,
        "reason": None,
        "eligible": True,
    }
    return ComparisonRow(**(values | changes))


def comparison(selected: str, rows: Sequence[ComparisonRow] = ()) -> Comparison:
    """The comparison with this variant selected; without rows it has the only row."""
    return Comparison(
        metric="macro_f1",
        variants="fastest",
        timing=TIMING,
        selected=selected,
        rows=tuple(rows) or (row(evaluation(selected)),),
    )


def check(
    name: str,
    *,
    passed: bool = True,
    unclear: bool = False,
    reason: str = "as required",
    value: float | None = None,
    threshold: float | None = None,
    production: float | None = None,
) -> Check:
    """One check of the gate."""
    return Check(
        name=name, passed=passed, unclear=unclear, reason=reason,
        value=value, threshold=threshold, production=production,
    )  # fmt: skip


def verdict(
    checks: Sequence[Check],
    *,
    sha256: str = "ab" * 32,
    production: ProductionModel | None = None,
    experiment: str | None = None,
    hold: bool = False,
) -> GateVerdict:
    """The verdict on `vgg`."""
    subject = Subject(
        architecture="vgg",
        sha256=sha256,
        dataset="d" * 64,
        thresholds="t",
        latency=Latency(p50_ms=2.5, timing=TIMING),
        experiment=experiment,
    )
    return GateVerdict.of(subject, checks, production=production, hold=hold)


def training(dataset: Dataset, **changes: Any) -> TrainingRecord:
    """The record of a network that was trained for two epochs on this data set."""
    record = TrainingRecord(
        dataset=dataset.dataset,
        classes=dataset.classes,
        input=dataset.input,
        architecture="lenet",
        head=HeadParams(hidden=[8], dropout=0.1),
        options={},
        weights="scratch",
        weights_reason="not pretrained",
        parameters=1234,
        epochs_run=2,
        best_epoch=1,
        best=BestEpoch(val_loss=1.1, val_accuracy=0.65, val_macro_f1=0.6),
        phases=(PhaseEpochs(name="train", epochs=2),),
        precision="float32",
    )
    return replace(record, **changes)


def robustness(
    name: str, *, sha256: str = "ab" * 32, draw: str = "cd" * 32, right: Sequence[int]
) -> Robustness:
    """Answers to corrupted pictures, the same under every corruption.

    Args:
        name: of the variant.
        right: of each picture, how many of its 24 versions are answered right.
        sha256: of its file.
        draw: digest of the pictures.
    """
    share = sum(right) / 24 / len(right)
    accuracy = IntervalEstimate(value=round(share, 6), low=round(share * 0.9, 6), high=round(share, 6))
    error = IntervalEstimate(value=round(1 - share, 6), low=None, high=None)
    ece = IntervalEstimate(value=0.06, low=0.04, high=0.09)
    return Robustness(
        architecture=name,
        sha256=sha256,
        draw=draw,
        images=len(right),
        people=len(right),
        clean_accuracy=IntervalEstimate(value=0.9, low=0.8, high=0.95),
        corrupted_accuracy=accuracy,
        mean_corruption_error=error,
        extra_error=error,
        worst=WorstCase(corruption="noise", severity=3, accuracy=accuracy),
        clean_ece=ece,
        corrupted_ece=ece,
        corruptions={corruption: (accuracy,) * len(SEVERITIES) for corruption in CORRUPTIONS},
        right=tuple(right),
    )


def export(name: str, *, sha256: str = "ab" * 32, size_bytes: int = 1000, **changes: Any) -> Export:
    """The record of an exported network."""
    record = Export(
        architecture=name,
        sha256=sha256,
        size_bytes=size_bytes,
        temperature=1.21,
        val_nll_before=1.1,
        val_nll_after=1.0,
        parity={"probabilities": 2e-7, "heatmap": 3e-6, "embedding": 4e-6},
        opset=18,
        heatmap=(4, 4),
        embedding=6,
    )
    return replace(record, **changes)
