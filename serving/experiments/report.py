"""Reports of the experiments: the shadow's agreement with the live model, and the canary's status.

The agreement report has agreement, chance-corrected agreement, distances and durations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from serving.experiments.agreement import NOTHING, Agreement
from serving.inference.model_slot import LiveModel, ModelIdentity

_DIGITS = 6
_NO_FACE = "no face"


@dataclass(frozen=True, kw_only=True, slots=True)
class EmotionAgreement:
    """Agreement for one emotion of the live model; figures that need answers are None without any."""

    compared: int
    agreed: int
    agreement: float | None
    kappa: float | None
    mean_probability_difference: float | None
    shadow: Mapping[str, int]
    """The shadow's emotion → how often."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AgreementSummary:
    """Agreement of the shadow with the live model; figures that need answers are None without any."""

    compared: int
    agreed: int
    agreement: float | None
    kappa: float | None
    mean_probability_difference: float | None
    emotions: Mapping[str, EmotionAgreement]
    """By the live model's emotion."""


def summarize(agreement: Agreement) -> AgreementSummary:
    """Compute the figures of a report from counts."""
    answers = agreement.answers
    compared = answers.total()
    agreed = sum(count for (live, shadow), count in answers.items() if live == shadow)
    return AgreementSummary(
        compared=compared,
        agreed=agreed,
        agreement=_ratio(agreed, compared),
        kappa=kappa(answers),
        mean_probability_difference=_ratio(sum(agreement.distances.values()), compared),
        emotions={emotion: _emotion(agreement, emotion) for emotion in sorted({live for live, _ in answers})},
    )


def kappa(answers: Counter[tuple[str, str]]) -> float | None:
    """Cohen's kappa (1960): agreement beyond what the frequencies of both models' answers bring by chance.

    Args:
        answers: (one model's, the other's) → how often.

    Returns:
        1 for full agreement, 0 for as much as by chance; None without answers, and when both models always
        gave the same single answer, so that they could only agree.
    """
    total = answers.total()
    if not total:
        return None
    ours, theirs = Counter[str](), Counter[str]()
    for (one, other), count in answers.items():
        ours[one] += count
        theirs[other] += count
    observed = sum(count for (one, other), count in answers.items() if one == other) / total
    expected = sum(count * theirs[name] for name, count in ours.items()) / total**2
    return None if expected == 1 else round((observed - expected) / (1 - expected), _DIGITS)


def _emotion(agreement: Agreement, emotion: str) -> EmotionAgreement:
    answers = agreement.answers
    shadow_counts = {shadow: count for (live, shadow), count in sorted(answers.items()) if live == emotion}
    compared, agreed = sum(shadow_counts.values()), shadow_counts.get(emotion, 0)
    against_rest: Counter[tuple[str, str]] = Counter()
    for (live, shadow), count in answers.items():
        against_rest[str(live == emotion), str(shadow == emotion)] += count
    return EmotionAgreement(
        compared=compared,
        agreed=agreed,
        agreement=_ratio(agreed, compared),
        kappa=kappa(against_rest),
        mean_probability_difference=_ratio(agreement.distances.get(emotion, 0.0), compared),
        shadow={_NO_FACE if name == NOTHING else name: count for name, count in shadow_counts.items()},
    )


def _ratio(part: float, whole: int) -> float | None:
    return round(part / whole, _DIGITS) if whole else None


CanaryState = Literal["running", "waiting", "stopped", "paused"]


@dataclass(frozen=True, kw_only=True)
class CanaryStatus:
    """Status of a canary."""

    state: CanaryState
    reason: str
    """Explanation of the state, for people."""
    candidate: ModelIdentity | None = None
    """The model that gets the share of requests, or would get it."""


def compare_models(
    live: LiveModel | None, candidate: LiveModel | None, *, absent: bool, location: str, waiting: str
) -> CanaryStatus:
    """Return the canary's status for two models: `running` if the candidate can answer requests.

    Args:
        live: the live model.
        candidate: the candidate.
        absent: whether the registry no longer names a candidate, though one may still be loaded.
        location: location of the candidate, for messages.
        waiting: why no candidate is loaded yet, for messages.
    """
    if live is None:
        return CanaryStatus(state="waiting", reason="no model is live")
    if absent:
        return CanaryStatus(state="stopped", reason=f"{location} names no model")
    if candidate is None:
        return CanaryStatus(state="waiting", reason=waiting)
    identity = candidate.identity
    name = f"version {identity.version}"
    if identity.sha256 == live.identity.sha256:
        return CanaryStatus(state="stopped", reason=f"{name} is live for everybody", candidate=identity)
    ours, theirs = live.contract.classes, candidate.contract.classes
    if set(ours) != set(theirs):
        reason = f"{name} tells other emotions ({', '.join(theirs)}) than the live model ({', '.join(ours)})"
        return CanaryStatus(state="stopped", reason=reason, candidate=identity)
    return CanaryStatus(state="running", reason=name, candidate=identity)
