"""Facts about two pretended models, as the rules of the gate take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.core.params import GateParams
from pipelines.gate.estimates import Estimate
from pipelines.gate.noninferiority import Drop, McNemar, Outcome
from pipelines.gate.rules import Candidate, PairedComparison, ProductionScores

NO_THRESHOLDS = {name: None for name in GateParams.model_fields if name.startswith(("min_", "max_"))}
DISTANCE = 0.03
"""From every estimate to both ends of its interval."""


def gate_params(**values: Any) -> GateParams:
    """These parameters, no other thresholds, and the defaults of the rest."""
    return GateParams.model_validate(NO_THRESHOLDS | values)


def estimate(value: float) -> Estimate:
    """A value with an interval around it."""
    return Estimate(value=value, low=value - DISTANCE, high=value + DISTANCE)


def candidate(scores: Mapping[str, float], **changes: Any) -> Candidate:
    """A fast, small model with these scores."""
    facts: dict[str, Any] = {"latency_ms": 5.0, "measured": "here", "size_mb": 2.0, "smoke": None} | changes
    return Candidate(scores={name: estimate(value) for name, value in scores.items()}, **facts)


def production(
    scores: Mapping[str, float], theirs: Mapping[str, float], outcomes: Mapping[str, Outcome]
) -> ProductionScores:
    """Version 3, compared with a candidate.

    Args:
        scores: of the candidate.
        theirs: of production, by the same names.
        outcomes: of the names that are compared.
    """
    drops = {name: _drop(theirs[name] - scores[name], outcome) for name, outcome in outcomes.items()}
    pairs = McNemar(candidate=4, production=9, p=0.2668)
    compared = PairedComparison(scores=theirs, drops=drops, images=300, people=100, mcnemar=pairs)
    return ProductionScores(version=3, compared=compared)


def _drop(value: float, outcome: Outcome) -> Drop:
    return Drop(
        value=value,
        low=value - DISTANCE,
        high=value + DISTANCE,
        p_worse=0.001 if outcome == "worse" else 1.0,
        smallest=0.145,
        outcome=outcome,
    )
