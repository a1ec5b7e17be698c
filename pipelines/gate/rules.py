"""The gate: may this model be registered? Numbers and thresholds in, verdict out; no files, no MLflow.

A model must reach absolute floors, must not fall behind production on the same test images, overall
or in any class, must keep to its budgets, and must load and answer as the service will use it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pipelines import metrics
from pipelines.core.errors import GateError
from pipelines.core.params import GateParams

# Shares of whole images differ by far more; this only absorbs binary fractions (0.80 - 0.78 > 0.02).
_ROUNDING = 1e-9
_DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question the gate asks."""

    name: str
    """Name of the threshold, with the class after a dot where every class is asked."""
    value: float | None
    """The candidate's; None where there is no number."""
    threshold: float | None
    production: float | None
    """The same number of the production model, where it has one."""
    passed: bool
    reason: str
    """One sentence for a person, whether it passed or not."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Quality on the test images."""

    accuracy: float
    macro_f1: float
    recall: Mapping[str, float]
    """By class; NaN for a class without test images."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What is known of the model that wants to be registered."""

    scores: Scores
    latency_ms: float
    """p50 at batch 1, one thread."""
    measured: str
    """When and where that was measured."""
    size_mb: float
    """10⁶ bytes."""
    smoke: str | None
    """What went wrong when it was loaded and asked; None if nothing did."""


@dataclass(frozen=True, kw_only=True)
class ProductionScores:
    """What is known of the model behind `production`."""

    version: int | None
    """None when the registry could not be asked."""
    scores: Scores | None
    """None when it could not be evaluated; then `problem` says why."""
    problem: str | None = None


def score(labels: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> Scores:
    """Quality of predicted class names, whatever order the model itself keeps its classes in."""
    index = {name: position for position, name in enumerate(classes)}
    matrix = metrics.confusion_matrix(
        np.array([index[label] for label in labels], dtype=np.int64),
        np.array([index[name] for name in predicted], dtype=np.int64),
        classes=len(classes),
    )
    return Scores(
        accuracy=float(metrics.accuracy(matrix)),
        macro_f1=float(metrics.macro_f1(matrix)),
        recall=dict(zip(classes, metrics.recall(matrix).tolist(), strict=True)),
    )


def judge(
    candidate: Candidate, production: ProductionScores | None, thresholds: GateParams
) -> tuple[Check, ...]:
    """Ask every question there is a threshold for.

    Raises:
        GateError: there is no threshold at all.
    """
    require_thresholds(thresholds)
    return (
        _smoke(candidate),
        *_floors(candidate.scores, production.scores if production else None, thresholds),
        *(_against(candidate.scores, production, thresholds) if production else ()),
        *_budgets(candidate, thresholds),
    )


def require_thresholds(thresholds: GateParams) -> None:
    """A gate without thresholds would pass everything.

    Raises:
        GateError: there is no threshold at all.
    """
    if all(value is None for value in thresholds.model_dump().values()):
        raise GateError(
            reason="no thresholds are configured, so that nothing could ever fail",
            remedy="set at least one under `gate` in params.yaml, such as min_accuracy: 0.4",
        )


def thresholds_digest(thresholds: GateParams) -> str:
    """SHA-256 of the thresholds: with another digest, an old verdict does not hold."""
    text = json.dumps(thresholds.model_dump(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def as_json(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Rounded to six decimals, so that the file reads well; NaN cannot occur."""
    return [
        {
            key: round(value, _DIGITS) if isinstance(value, float) else value
            for key, value in asdict(check).items()
        }
        for check in checks
    ]


def reasons(checks: Sequence[Check]) -> list[str]:
    """Why a model was rejected; empty when it passed."""
    return [check.reason for check in checks if not check.passed]


def _smoke(candidate: Candidate) -> Check:
    return Check(
        name="smoke",
        value=None,
        threshold=None,
        production=None,
        passed=candidate.smoke is None,
        reason=candidate.smoke or "the file loads and answers as the service will use it",
    )


def _floors(scores: Scores, other: Scores | None, thresholds: GateParams) -> Iterator[Check]:
    if (least := thresholds.min_accuracy) is not None:
        yield _floor("min_accuracy", "accuracy", scores.accuracy, other.accuracy if other else None, least)
    if (least := thresholds.min_macro_f1) is not None:
        yield _floor("min_macro_f1", "macro-F1", scores.macro_f1, other.macro_f1 if other else None, least)
    if (least := thresholds.min_class_recall) is not None:
        for name, value in scores.recall.items():
            theirs = other.recall.get(name) if other else None
            yield _floor(f"min_class_recall.{name}", f"recall of {name}", value, theirs, least)


def _against(scores: Scores, production: ProductionScores, thresholds: GateParams) -> Iterator[Check]:
    drops = (thresholds.max_accuracy_drop, thresholds.max_macro_f1_drop, thresholds.max_class_recall_drop)
    if all(drop is None for drop in drops):
        return
    other = production.scores
    yield Check(
        name="production",
        value=None,
        threshold=None,
        production=None,
        passed=other is not None,
        reason=production.problem
        or f"production (version {production.version}) answers on the same test images",
    )
    if other is None:
        return
    if (most := thresholds.max_accuracy_drop) is not None:
        yield _drop("max_accuracy_drop", "accuracy", scores.accuracy, other.accuracy, most)
    if (most := thresholds.max_macro_f1_drop) is not None:
        yield _drop("max_macro_f1_drop", "macro-F1", scores.macro_f1, other.macro_f1, most)
    if (most := thresholds.max_class_recall_drop) is not None:
        for name, value in scores.recall.items():
            yield _drop(f"max_class_recall_drop.{name}", f"recall of {name}", value, other.recall[name], most)


def _budgets(candidate: Candidate, thresholds: GateParams) -> Iterator[Check]:
    if (most := thresholds.max_latency_ms) is not None:
        budget = _budget("max_latency_ms", "p50 latency at batch 1", candidate.latency_ms, most, "ms")
        yield replace(budget, reason=f"{budget.reason} ({candidate.measured})")
    if (most := thresholds.max_size_mb) is not None:
        yield _budget("max_size_mb", "file size", candidate.size_mb, most, "MB")


def _floor(name: str, what: str, value: float, production: float | None, least: float) -> Check:
    known = not math.isnan(value)
    passed = known and value >= least - _ROUNDING
    said = f"{value:.3f}" if known else "unknown, for there are no test images of it"
    return Check(
        name=name,
        value=value if known else None,
        threshold=least,
        production=None if production is None or math.isnan(production) else production,
        passed=passed,
        reason=f"{what} is {said}, {'at least' if passed else 'but at least'} {least:g} is required",
    )


def _drop(name: str, what: str, value: float, production: float, most: float) -> Check:
    known = not (math.isnan(value) or math.isnan(production))
    passed = known and production - value <= most + _ROUNDING
    allowed = f"a drop of at most {most:g} is allowed"
    said = (
        f"{value:.3f} against {production:.3f} of production"
        if known
        else "unknown, for there are no test images"
    )
    return Check(
        name=name,
        value=value if known else None,
        threshold=most,
        production=production if known else None,
        passed=passed,
        reason=f"{what} is {said}, {'' if passed else 'but '}{allowed}",
    )


def _budget(name: str, what: str, value: float, most: float, unit: str) -> Check:
    passed = value <= most
    return Check(
        name=name,
        value=value,
        threshold=most,
        production=None,
        passed=passed,
        reason=f"{what} is {value:.2f} {unit}, {'' if passed else 'but '}at most {most:g} {unit} is allowed",
    )
