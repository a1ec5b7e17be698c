"""GET /drift and /drift/report: drift of the answered pictures from the live model's reference."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from serving.detection.bodies import Count, Fraction, NotNegative, Time, iso_time
from serving.drift.catalog import meaning_of
from serving.drift.monitor import DriftStatus
from serving.drift.result import ColumnDrift, DriftResult, WindowFacts
from serving.errors.requests import NotFound
from serving.http.endpoint import ACCESS, Answer, Dependencies, Routes, documented
from serving.http.request.body import json_response

routes = Routes("drift")

_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
# Evidently's page contains its styles, fonts and images. `sandbox` gives it a separate origin, so that its
# scripts cannot access this service.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; font-src data:; img-src data: blob:; {scripts}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts allow-downloads"
)
_DIGITS = 6


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredQuality:
    """Quality of answers whose true emotions are known."""

    rows: Count
    accuracy: Fraction
    accuracy_low: Fraction
    """95 % interval (Wilson)."""
    accuracy_high: Fraction
    macro_f1: Fraction
    confusion: Mapping[str, Mapping[str, Count]]
    """True emotion → predicted → rows."""


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectedMetric:
    """A metric that calibrated probabilities lead to expect."""

    value: Fraction | None
    """Null where it is undefined, such as the precision of an emotion that was never predicted."""
    low: Fraction | None
    """End of the 95 % interval for a window with these probabilities."""
    high: Fraction | None


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectedEmotion:
    """Metrics of one emotion that calibrated probabilities lead to expect."""

    recall: ExpectedMetric
    precision: ExpectedMetric


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class ConfidenceBasedEstimate:
    """Confidence-based performance estimation (CBPE): metrics without feedback of a calibrated model."""

    accuracy: ExpectedMetric
    macro_f1: ExpectedMetric
    emotions: Mapping[str, ExpectedEmotion]


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class EstimatedAccuracy:
    """The accuracy, without any feedback."""

    mean_confidence: Fraction
    atc: Fraction
    cbpe: ConfidenceBasedEstimate | None
    """Null for a result of an earlier release."""
    caveat: str | None
    """Why both are unreliable while the verdict is `drift`; null otherwise."""


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class ModelQuality:
    """Quality of the live model."""

    reference: MeasuredQuality
    feedback: MeasuredQuality | None
    """Null without feedback in the window."""
    estimated: EstimatedAccuracy


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """Bounds of the column's values, of classes of their shares; null without a bound."""

    min: float | None
    max: float | None


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """Drift of one column."""

    method: str
    score: NotNegative
    threshold: NotNegative
    drifted: bool
    reference: Mapping[str, float]
    """Mean and deviation; of classes, their shares."""
    window: Mapping[str, float]
    dropped: Count
    """Values that are not numbers, left out."""
    possible: Bounds


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnDescription:
    """What a column means, for people."""

    label: str
    """Name of the column, as the page shows it."""
    explanation: str
    """What the column measures, and what changes it."""


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The compared observations."""

    rows: Count
    total: Count
    """An estimate when `sampled`."""
    sampled: bool
    since: Time
    until: Time
    pictures_per_person: Annotated[float, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceSize:
    """Size of the model's reference."""

    rows: Count
    people: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedModel:
    """The live model."""

    version: str
    sha256: str


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """The newest drift result."""

    verdict: Literal["drift", "no drift", "unknown"]
    reason: str
    problem: str | None
    """Why there is no result or no newer one; null without a problem."""
    stale: bool
    """The result is older than MIEN_DRIFT_STALE_S."""
    model: ComparedModel | None
    computed_at: Time | None
    age_s: NotNegative | None
    """Age of the result, seconds."""
    computing_s: NotNegative | None
    """Seconds since the computation of the next result began; null if none is running."""
    checked_s: NotNegative | None
    """Seconds since the service last counted the observations, as `problem` may say; null if it never did."""
    window: Window | None
    reference: ReferenceSize | None
    quality: ModelQuality | None
    columns: Mapping[str, Column]
    left_out: Mapping[str, str]
    """Columns that could not be compared, and why."""
    descriptions: Mapping[str, ColumnDescription]
    """What each column of `columns` and `left_out` means."""


@routes.add("GET", "/drift", answer=Drift, problems=ACCESS)
async def drift(request: Request) -> Response:
    """The newest verdict, its window, and each column's score and threshold; nothing is computed."""
    dependencies: Dependencies = request.state.dependencies
    return json_response(_body(dependencies.drift.status()))


@routes.add(
    "GET",
    "/drift/report",
    answer=Answer(
        text="Evidently's page, without external resources.",
        content={"text/html": {"schema": {"type": "string"}}},
    ),
    problems=(*ACCESS, 404, 503),
)
async def report(request: Request) -> Response:
    """Evidently's page about the newest verdict."""
    dependencies: Dependencies = request.state.dependencies
    monitor = dependencies.drift
    page = await asyncio.to_thread(monitor.report)
    if page is None:
        raise NotFound(f"there is no report yet: {monitor.status().problem or 'it is being computed'}")
    policy = await asyncio.to_thread(policy_of, page)
    return HTMLResponse(page, headers={"content-security-policy": policy})


def policy_of(page: bytes) -> str:
    """Return the content security policy of a page: only its own scripts, by their hashes."""
    hashes = [hashlib.sha256(script).digest() for script in _SCRIPT.findall(page)]
    sources = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in hashes)
    return _POLICY.format(scripts=f"script-src {sources or chr(39) + 'none' + chr(39)}")


def _body(status: DriftStatus) -> Drift:
    result, live = status.result, status.model
    return Drift(
        verdict=result.verdict if result else "unknown",
        reason=result.reason if result else status.problem or "",
        problem=status.problem,
        stale=status.stale,
        model=ComparedModel(version=live.version, sha256=live.sha256) if live else None,
        computed_at=iso_time(result.time) if result else None,
        age_s=_seconds_since(result.time if result else None),
        computing_s=_seconds_since(status.computing_since),
        checked_s=_seconds_since(status.checked_at),
        window=_window(result.window) if result and result.window else None,
        reference=ReferenceSize(**asdict(result.reference)) if result and result.reference else None,
        quality=_quality(result) if result else None,
        columns={column.name: _column(column) for column in result.columns} if result else {},
        left_out=dict(result.left_out) if result else {},
        descriptions=_descriptions(result) if result else {},
    )


def _seconds_since(time_s: float | None) -> float | None:
    return None if time_s is None else round(max(0.0, time.time() - time_s), 1)


def _descriptions(result: DriftResult) -> dict[str, ColumnDescription]:
    names = (*(column.name for column in result.columns), *result.left_out)
    meanings = {name: meaning_of(name) for name in names}
    return {
        name: ColumnDescription(label=meaning.label, explanation=meaning.explanation)
        for name, meaning in meanings.items()
    }


def _quality(result: DriftResult) -> ModelQuality | None:
    if result.quality is None:
        return None
    values = {name: _rounded(value) for name, value in asdict(result.quality).items()}
    feedback = values["feedback"]
    return ModelQuality(
        reference=MeasuredQuality(**values["reference"]),
        feedback=MeasuredQuality(**feedback) if feedback else None,
        estimated=EstimatedAccuracy(
            mean_confidence=values["estimated"]["mean_confidence"],
            atc=values["estimated"]["atc"],
            cbpe=_cbpe(values["estimated"]["cbpe"]),
            caveat=result.caveat,
        ),
    )


def _cbpe(values: Mapping[str, Any] | None) -> ConfidenceBasedEstimate | None:
    if values is None:
        return None
    return ConfidenceBasedEstimate(
        accuracy=ExpectedMetric(**values["accuracy"]),
        macro_f1=ExpectedMetric(**values["macro_f1"]),
        emotions={
            name: ExpectedEmotion(**{metric: ExpectedMetric(**value) for metric, value in metrics.items()})
            for name, metrics in values["classes"].items()
        },
    )


def _window(window: WindowFacts) -> Window:
    values = _rounded(asdict(window))
    return Window(**values | {"since": iso_time(window.since), "until": iso_time(window.until)})


def _column(column: ColumnDrift) -> Column:
    values = {name: _rounded(value) for name, value in asdict(column).items() if name != "name"}
    return Column(**values | {"possible": Bounds(**values["possible"])})


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return round(value, _DIGITS) if isinstance(value, float) else value
