"""Rules of the quality gate, computed from estimates and thresholds without files or MLflow.

A model must reach minimum scores, must not be worse than production by a margin on the same test images
(`pipelines.gate.noninferiority`), must stay within its limits of latency and size, and must pass the smoke
test.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from pipelines.core.errors import GateError
from pipelines.core.params import GateParams
from pipelines.core.records import OPTIONAL
from pipelines.gate.estimates import Estimate
from pipelines.gate.noninferiority import Drop, McNemar
from pipelines.metrics.summary import METRICS

_UNKNOWN = dict.fromkeys(("max_ece", "max_brier"), "a probability is not finite")
"""Why a score is undefined, by check; other scores lack test images."""
# Only absorbs floating-point error (0.80 - 0.78 > 0.02); shares of images differ by far more.
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check of the quality gate."""

    name: str
    """Name of the threshold, followed by a dot and the class, slice or attribute that it applies to."""
    value: float | None
    """The candidate's value; None if the check has no number."""
    low: Annotated[float | None, OPTIONAL] = None
    """End of the value's 95 % interval, as `high`; None if it has none."""
    high: Annotated[float | None, OPTIONAL] = None
    threshold: float | None
    production: float | None
    """The production model's value; None if it has none."""
    drop: Annotated[Drop | None, OPTIONAL] = None
    """Against production; None if the check does not compare."""
    passed: bool
    """Whether the model may be registered as far as this check is concerned."""
    unclear: Annotated[bool, Field(exclude_if=lambda value: not value)] = False
    """Whether the test images are too few to decide; `gate.on_unclear` decides then."""
    reason: str
    """One sentence that explains the result, also if the check passed."""

    @property
    def state(self) -> Literal["failed", "unclear", "passed"]:
        """The result in one word."""
        if not self.passed:
            return "failed"
        return "unclear" if self.unclear else "passed"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Facts about the model that is to be registered."""

    scores: Mapping[str, Estimate]
    """By name, as `estimates.measure` and `measure_calibration` return them."""
    latency_ms: float
    """p50 at batch 1, one thread."""
    measured: str
    """When and where the latency was measured."""
    size_mb: float
    """10⁶ bytes."""
    smoke: str | None
    """Problem found by the smoke test; None if it passed."""


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """The production model's answers to the same test images, beside the candidate's."""

    scores: Mapping[str, float]
    """Production's values, by the names of `Candidate.scores`."""
    drops: Mapping[str, Drop]
    """Of each name with a margin that is defined for both models."""
    images: int
    people: int
    mcnemar: McNemar


@dataclass(frozen=True, kw_only=True)
class ProductionScores:
    """Facts about the model with the alias `production`."""

    version: int | None
    """None if the registry could not be reached."""
    compared: PairedComparison | None
    """None if the model could not be evaluated; then `problem` says why."""
    problem: str | None = None


def judge(candidate: Candidate, production: ProductionScores | None, gate: GateParams) -> tuple[Check, ...]:
    """Run the smoke test's check and every check that has a threshold.

    Raises:
        GateError: no threshold is set.
    """
    require_thresholds(gate)
    compared = production.compared if production else None
    return (
        _smoke(candidate),
        *_limits(candidate.scores, compared.scores if compared else {}, gate),
        *(_against(candidate.scores, production, gate) if production else ()),
        *_budgets(candidate, gate),
    )


def margins(names: Iterable[str], gate: GateParams) -> dict[str, float]:
    """Select the metrics whose drop against production is limited.

    Args:
        names: of metrics, as `estimates.measure` returns them.
        gate: the thresholds.

    Returns:
        Allowed drop by name.
    """
    found = {name: gate.thresholds.get(f"max_{name.partition('.')[0]}_drop") for name in names}
    return {name: margin for name, margin in found.items() if margin is not None}


def require_thresholds(gate: GateParams) -> None:
    """Make sure that at least one threshold is set; without thresholds every model would pass.

    Raises:
        GateError: no threshold is set.
    """
    if all(value is None for value in gate.thresholds.values()):
        raise GateError(
            reason="no thresholds are configured, so every model would pass",
            remedy="set at least one under `gate` in params.yaml, such as min_accuracy: 0.4",
        )


def thresholds_digest(gate: GateParams) -> str:
    """SHA-256 of the gate's parameters; a verdict is valid only for the same digest."""
    text = json.dumps(gate.model_dump(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def reasons(checks: Sequence[Check]) -> list[str]:
    """List why a model was rejected; empty if it passed."""
    return [check.reason for check in checks if not check.passed]


def _smoke(candidate: Candidate) -> Check:
    reason = candidate.smoke or "the file loads and predicts as in the service"
    return _without_number("smoke", passed=candidate.smoke is None, reason=reason)


def _without_number(name: str, *, passed: bool, reason: str) -> Check:
    return Check(name=name, value=None, threshold=None, production=None, passed=passed, reason=reason)


def _limits(
    scores: Mapping[str, Estimate], production: Mapping[str, float], gate: GateParams
) -> Iterator[Check]:
    """Compare each score with its `min_…` and `max_…`."""
    for name, score in scores.items():
        kind, dot, label = name.partition(".")
        for sign in ("min", "max"):
            if (limit := gate.thresholds.get(f"{sign}_{kind}")) is not None:
                yield _limit(
                    f"{sign}_{kind}{dot}{label}", score, limit, what=title(name), gate=gate,
                    production=production.get(name),
                )  # fmt: skip
    for check in ("min_slice_accuracy", "max_slice_accuracy_drop"):
        if gate.thresholds[check] is not None and not any(name.startswith("slice_") for name in scores):
            reason = f"no slice of the test images has gate.slice_images ({gate.slice_images}) images"
            yield _without_number(check, passed=False, reason=reason)
    if gate.max_attribute_gap is not None and not any(name.startswith("attribute_") for name in scores):
        reason = "no column of data/attributes.csv has two groups of evaluate.min_group_images test images"
        yield _without_number("max_attribute_gap", passed=False, reason=reason)


def title(name: str) -> str:
    """Name of a score in a sentence."""
    kind, _, label = name.partition(".")
    if kind in METRICS:
        return METRICS[kind].title
    return {
        "class_recall": f"recall of {label}",
        "slice_accuracy": f"accuracy in the slice {label!r}",
        "brier": "Brier score",
        "corrupted_accuracy": "accuracy on corrupted pictures",
        "attribute_gap": f"largest gap of accuracy between groups of {label!r}",
    }[kind]


def _limit(
    name: str, score: Estimate, limit: float, *, what: str, gate: GateParams, production: float | None
) -> Check:
    """Compare a score with its floor (`min_…`) or its ceiling."""
    known, floor = not math.isnan(score.value), name.startswith("min_")
    judged = score.value if gate.floors == "point" else score.low if floor else score.high
    passed = known and (judged >= limit - _ROUNDING if floor else judged <= limit + _ROUNDING)
    shown = (
        f"{score.value:.3f} (95 % interval {score.low:.3f}–{score.high:.3f})"
        if known
        else f"unknown because {_UNKNOWN.get(name.partition('.')[0], 'there are no test images of it')}"
    )
    return Check(
        name=name,
        value=score.value if known else None,
        low=score.low if known else None,
        high=score.high if known else None,
        threshold=limit,
        production=None if production is None or math.isnan(production) else production,
        passed=passed,
        reason=f"{what} is {shown}, {'' if passed else 'but '}{_demand(limit, gate, floor=floor)}",
    )


def _demand(limit: float, gate: GateParams, *, floor: bool) -> str:
    if gate.floors == "point":
        return f"at {'least' if floor else 'most'} {limit:g} is required"
    end = f"begin at {limit:g} or above" if floor else f"end at {limit:g} or below"
    return f"the interval must {end}"


def _against(
    scores: Mapping[str, Estimate], production: ProductionScores, gate: GateParams
) -> Iterator[Check]:
    limits = margins(scores, gate)
    if not limits:
        return
    compared = production.compared
    if compared is None:
        yield _without_number("production", passed=False, reason=str(production.problem))
        return
    yield _without_number("production", passed=True, reason=_comparison(production.version, compared))
    for name, margin in limits.items():
        yield _drop(name, scores[name], compared, margin, gate)


def _comparison(version: int | None, compared: PairedComparison) -> str:
    """Describe how the two models differ, with McNemar's test."""
    pairs = compared.mcnemar
    return (
        f"production (version {version}) was evaluated on the same {compared.images} test images of "
        f"{compared.people} people: only the candidate is right on {pairs.candidate} images, only production "
        f"on {pairs.production} (McNemar's exact p = {pairs.p:.2g}, which ignores people; for information)"
    )


def _drop(name: str, score: Estimate, compared: PairedComparison, margin: float, gate: GateParams) -> Check:
    kind, dot, label = name.partition(".")
    drop, production = compared.drops.get(name), compared.scores[name]
    if drop is None:
        reason = f"{title(name)} is unknown because there are no test images, but a drop is limited"
        passed, unclear = False, False
    else:
        unclear = drop.outcome == "unclear"
        passed = drop.outcome == "not worse" or (unclear and gate.on_unclear != "fail")
        reason = (
            f"{title(name)} is {score.value:.3f} compared with {production:.3f} in production, a change of "
            f"{_change(drop.value)} (95 % interval {_change(drop.high)} to {_change(drop.low)}): "
            f"{_result(drop, margin)}"
        )
    return Check(
        name=f"max_{kind}_drop{dot}{label}",
        value=None if drop is None else score.value,
        low=None if drop is None else score.low,
        high=None if drop is None else score.high,
        threshold=margin,
        production=None if drop is None else production,
        drop=drop,
        passed=passed,
        unclear=unclear,
        reason=reason,
    )


def _change(drop: float) -> str:
    """Format a drop as a change with its sign; nothing changes by -0.000."""
    return f"{round(0.0 - drop, 3) + 0.0:+.3f}"


def _result(drop: Drop, margin: float) -> str:
    match drop.outcome:
        case "not worse":
            return f"a drop of {margin:g} is ruled out"
        case "worse":
            return f"the drop is larger than {margin:g} (p = {drop.p_worse:.2g} after Holm's correction)"
        case "unclear":
            return (
                f"unclear whether the drop is below {margin:g}; "
                f"these test images show only drops of {drop.smallest:.3f} or more to be larger"
            )


def _budgets(candidate: Candidate, gate: GateParams) -> Iterator[Check]:
    if (limit := gate.max_latency_ms) is not None:
        budget = _budget("max_latency_ms", "p50 latency at batch 1", candidate.latency_ms, limit, "ms")
        yield replace(budget, reason=f"{budget.reason} ({candidate.measured})")
    if (limit := gate.max_size_mb) is not None:
        yield _budget("max_size_mb", "file size", candidate.size_mb, limit, "MB")


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
