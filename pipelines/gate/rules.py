"""Rules of the quality gate, computed from metrics and thresholds without files or MLflow.

A model must reach minimum scores, must not be worse than production on the same test images, overall or in
any class, must stay within its limits of latency and size, and must pass the smoke test.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines import metrics
from pipelines.core.errors import GateError
from pipelines.core.params import GateParams
from pipelines.metrics import METRICS

# Only absorbs floating-point error (0.80 - 0.78 > 0.02); shares of images differ by far more.
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check of the quality gate."""

    name: str
    """Name of the threshold, followed by a dot and the class if it applies to every class."""
    value: float | None
    """The candidate's value; None if the check has no number."""
    threshold: float | None
    production: float | None
    """The production model's value; None if it has none."""
    passed: bool
    reason: str
    """One sentence that explains the result, also if the check passed."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Quality on the test images."""

    overall: Mapping[str, float]
    """By name of the metric in `METRICS`: those computed from a confusion matrix."""
    recall: Mapping[str, float]
    """Recall by class; NaN for a class without test images."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Facts about the model that is to be registered."""

    scores: Scores
    latency_ms: float
    """p50 at batch 1, one thread."""
    measured: str
    """When and where the latency was measured."""
    size_mb: float
    """10⁶ bytes."""
    smoke: str | None
    """Problem found by the smoke test; None if it passed."""


@dataclass(frozen=True, kw_only=True)
class ProductionScores:
    """Facts about the model with the alias `production`."""

    version: int | None
    """None if the registry could not be reached."""
    scores: Scores | None
    """None if the model could not be evaluated; then `problem` says why."""
    problem: str | None = None


def score(labels: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> Scores:
    """Compute scores from class names, which do not depend on the model's class order."""
    index = {name: position for position, name in enumerate(classes)}
    matrix = metrics.confusion_matrix(
        np.array([index[label] for label in labels], dtype=np.int64),
        np.array([index[name] for name in predicted], dtype=np.int64),
        classes=len(classes),
    )
    return Scores(
        overall={
            name: float(metric.statistic(matrix)) for name, metric in METRICS.items() if metric.statistic
        },
        recall=dict(zip(classes, metrics.recall(matrix).tolist(), strict=True)),
    )


def judge(
    candidate: Candidate, production: ProductionScores | None, thresholds: GateParams
) -> tuple[Check, ...]:
    """Run the smoke test's check and every check that has a threshold.

    Raises:
        GateError: no threshold is set.
    """
    require_thresholds(thresholds)
    return (
        _smoke(candidate),
        *_floors(candidate.scores, production.scores if production else None, thresholds),
        *(_against(candidate.scores, production, thresholds) if production else ()),
        *_budgets(candidate, thresholds),
    )


def require_thresholds(thresholds: GateParams) -> None:
    """Make sure that at least one threshold is set; without thresholds every model would pass.

    Raises:
        GateError: no threshold is set.
    """
    if all(value is None for value in thresholds.model_dump().values()):
        raise GateError(
            reason="no thresholds are configured, so every model would pass",
            remedy="set at least one under `gate` in params.yaml, such as min_accuracy: 0.4",
        )


def thresholds_digest(thresholds: GateParams) -> str:
    """SHA-256 of the thresholds; a verdict is valid only for the same digest."""
    text = json.dumps(thresholds.model_dump(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def reasons(checks: Sequence[Check]) -> list[str]:
    """List why a model was rejected; empty if it passed."""
    return [check.reason for check in checks if not check.passed]


def _smoke(candidate: Candidate) -> Check:
    return Check(
        name="smoke",
        value=None,
        threshold=None,
        production=None,
        passed=candidate.smoke is None,
        reason=candidate.smoke or "the file loads and predicts as in the service",
    )


def _floors(scores: Scores, other: Scores | None, thresholds: GateParams) -> Iterator[Check]:
    for name, value in scores.overall.items():
        if (limit := getattr(thresholds, f"min_{name}", None)) is not None:
            theirs = other.overall[name] if other else None
            yield _floor(f"min_{name}", METRICS[name].title, value, theirs, limit)
    if (limit := thresholds.min_class_recall) is not None:
        for name, value in scores.recall.items():
            theirs = other.recall.get(name) if other else None
            yield _floor(f"min_class_recall.{name}", f"recall of {name}", value, theirs, limit)


def _against(scores: Scores, production: ProductionScores, thresholds: GateParams) -> Iterator[Check]:
    drops = {
        name: getattr(thresholds, f"max_{name}_drop", None) for name in (*scores.overall, "class_recall")
    }
    if all(drop is None for drop in drops.values()):
        return
    other = production.scores
    yield Check(
        name="production",
        value=None,
        threshold=None,
        production=None,
        passed=other is not None,
        reason=production.problem
        or f"production (version {production.version}) was evaluated on the same test images",
    )
    if other is None:
        return
    for name, value in scores.overall.items():
        if (limit := drops[name]) is not None:
            yield _drop(f"max_{name}_drop", METRICS[name].title, value, other.overall[name], limit)
    if (limit := thresholds.max_class_recall_drop) is not None:
        for name, value in scores.recall.items():
            yield _drop(
                f"max_class_recall_drop.{name}", f"recall of {name}", value, other.recall[name], limit
            )


def _budgets(candidate: Candidate, thresholds: GateParams) -> Iterator[Check]:
    if (limit := thresholds.max_latency_ms) is not None:
        budget = _budget("max_latency_ms", "p50 latency at batch 1", candidate.latency_ms, limit, "ms")
        yield replace(budget, reason=f"{budget.reason} ({candidate.measured})")
    if (limit := thresholds.max_size_mb) is not None:
        yield _budget("max_size_mb", "file size", candidate.size_mb, limit, "MB")


def _floor(name: str, what: str, value: float, production: float | None, limit: float) -> Check:
    known = not math.isnan(value)
    passed = known and value >= limit - _ROUNDING
    shown = f"{value:.3f}" if known else "unknown because there are no test images of it"
    return Check(
        name=name,
        value=value if known else None,
        threshold=limit,
        production=None if production is None or math.isnan(production) else production,
        passed=passed,
        reason=f"{what} is {shown}, {'at least' if passed else 'but at least'} {limit:g} is required",
    )


def _drop(name: str, what: str, value: float, production: float, limit: float) -> Check:
    known = not (math.isnan(value) or math.isnan(production))
    passed = known and production - value <= limit + _ROUNDING
    allowed = f"a drop of at most {limit:g} is allowed"
    shown = (
        f"{value:.3f} compared with {production:.3f} in production"
        if known
        else "unknown because there are no test images"
    )
    return Check(
        name=name,
        value=value if known else None,
        threshold=limit,
        production=production if known else None,
        passed=passed,
        reason=f"{what} is {shown}, {'' if passed else 'but '}{allowed}",
    )


def _budget(name: str, what: str, value: float, limit: float, unit: str) -> Check:
    passed = value <= limit
    return Check(
        name=name,
        value=value,
        threshold=limit,
        production=None,
        passed=passed,
        reason=f"{what} is {value:.2f} {unit}, {'' if passed else 'but '}at most {limit:g} {unit} is allowed",
    )
