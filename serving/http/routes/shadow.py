"""GET /model/shadow: comparison of the shadow model with the live model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from serving.detection.bodies import Count, Fraction, NotNegative, Sha256, Time, iso_time
from serving.experiments.agreement import Agreement, Durations
from serving.experiments.canary import Canary as RunningCanary
from serving.experiments.report import CanaryState, summarize
from serving.experiments.shadow import ShadowStatus
from serving.http.endpoint import ACCESS, Answer, Dependencies, Routes, documented
from serving.http.request.body import json_response
from serving.inference.model_slot import ModelIdentity

routes = Routes("model")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelName:
    """A model by its name, version and digest."""

    name: str
    version: str
    sha256: Sha256

    @classmethod
    def of(cls, model: ModelIdentity) -> ModelName:
        """Return the name of a model."""
        return cls(name=model.name, version=model.version, sha256=model.sha256)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelKey:
    """What tells two models apart."""

    version: str
    sha256: Sha256


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class Canary:
    """State of the canary."""

    location: str
    """Location of the candidate."""
    share: Fraction
    state: CanaryState
    reason: str
    model: ModelName | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ShadowOff:
    """No shadow is configured."""

    enabled: Literal[False]
    reason: str


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """Work for one picture: finding faces, preprocessing, its part of the batch's inference."""

    mean: NotNegative
    p50: NotNegative
    p95: NotNegative


@dataclass(frozen=True, kw_only=True, slots=True)
class BothLatencies:
    """Latency of both models."""

    live: Latency | None
    shadow: Latency | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LastError:
    """The shadow's last error."""

    time: Time
    reason: str


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class ShadowEmotion:
    """Agreement for one emotion of the live model."""

    compared: Count
    """Pictures that both models answered."""
    agreed: Count
    agreement: Fraction | None
    kappa: Annotated[float, Field(ge=-1, le=1)] | None
    """Cohen's: agreement beyond chance, of this emotion against all others."""
    mean_probability_difference: Fraction | None
    """Total variation: half the sum of the differences of all probabilities."""
    shadow: Mapping[str, Count]
    """The shadow's emotions for these pictures."""


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class ShadowReport:
    """Agreement of the shadow with the live model."""

    live: ModelKey
    shadow: ModelKey
    since: Time
    compared: Count
    """Pictures that both models answered."""
    agreed: Count
    agreement: Fraction | None
    kappa: Annotated[float, Field(ge=-1, le=1)] | None
    """Cohen's: agreement beyond chance."""
    mean_probability_difference: Fraction | None
    """Total variation: half the sum of the differences of all probabilities."""
    emotions: Mapping[str, ShadowEmotion]
    """By the live model's answer."""
    latency_ms: BothLatencies
    dropped: Count
    """Sampled pictures that the shadow had no time for."""
    failed: Count
    """Pictures for which the shadow failed."""
    last_error: LastError | None


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class Shadow:
    """The shadow and what it answered, over all workers."""

    enabled: Literal[True]
    location: str
    fraction: Fraction
    """Fraction of the answered pictures that the shadow also classifies."""
    model: ModelName | None
    reason: str | None
    """Why nothing is compared now; null while pictures are compared."""
    report: ShadowReport | None
    """Report about the last compared pair of models, over all workers."""


@routes.add(
    "GET",
    "/model/shadow",
    answer=Answer(text="Agreement of the shadow, or `enabled: false`.", model=Shadow | ShadowOff),
    problems=ACCESS,
)
async def shadow(request: Request) -> Response:
    """Agreement of the shadow with the live model, over all workers; `enabled` is false without a shadow."""
    dependencies: Dependencies = request.state.dependencies
    trial = dependencies.experiments.shadow
    if trial is None:
        return json_response(
            ShadowOff(enabled=False, reason="no shadow is configured; set MIEN_SHADOW_MODEL")
        )
    return json_response(_body(await asyncio.to_thread(trial.status)))


def _body(status: ShadowStatus) -> Shadow:
    return Shadow(
        enabled=True,
        location=status.location,
        fraction=status.fraction,
        model=ModelName.of(status.model) if status.model else None,
        reason=status.reason or None,
        report=_report(status.agreement) if status.agreement else None,
    )


def _report(counted: Agreement) -> ShadowReport:
    failed_at, reason = counted.last_error
    summary = summarize(counted)
    return ShadowReport(
        live=_key(counted.pair.live),
        shadow=_key(counted.pair.shadow),
        since=iso_time(counted.since),
        compared=summary.compared,
        agreed=summary.agreed,
        agreement=summary.agreement,
        kappa=summary.kappa,
        mean_probability_difference=summary.mean_probability_difference,
        emotions={name: ShadowEmotion(**asdict(one)) for name, one in summary.emotions.items()},
        latency_ms=BothLatencies(live=_latency(counted.live), shadow=_latency(counted.shadow)),
        dropped=counted.dropped,
        failed=counted.failed,
        last_error=LastError(time=iso_time(failed_at), reason=reason) if reason else None,
    )


def _latency(durations: Durations) -> Latency | None:
    ms = durations.summary_ms()
    return Latency(**ms) if ms else None


def canary_state(canary: RunningCanary | None) -> Canary | None:
    """Return the canary's state for /model; None without a canary."""
    if canary is None:
        return None
    status = canary.status
    return Canary(
        location=canary.location,
        share=canary.share,
        state=status.state,
        reason=status.reason,
        model=ModelName.of(status.candidate) if status.candidate else None,
    )


def _key(key: tuple[str, str]) -> ModelKey:
    return ModelKey(version=key[0], sha256=key[1])
