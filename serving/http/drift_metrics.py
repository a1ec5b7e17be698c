"""What Prometheus scrapes of drift: the newest result, as every replica finds it in the database."""

from __future__ import annotations

import math
import time

from prometheus_client import CollectorRegistry, Gauge

from serving.drift.monitor import Status
from serving.drift.result import DriftResult

_VALUES = {"drift": 1.0, "no drift": 0.0}


class DriftMetrics:
    """Series of their own in the application's registry; NaN while there is no verdict."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            # All workers tell the same, one a moment before the other.
            return Gauge(name, text, labels, registry=registry, multiprocess_mode="livemostrecent")

        self._verdict = gauge("mien_drift", "1 when some column has moved, 0 when none has.")
        self._score = gauge("mien_drift_score", "Distance of a column from the reference.", "column")
        self._threshold = gauge("mien_drift_threshold", "Score that chance does not explain.", "column")
        self._rows = gauge("mien_drift_rows", "Observations that were compared.")
        self._computed = gauge("mien_drift_age_seconds", "Since the result was computed.")
        self._accuracy = gauge("mien_drift_accuracy", "How often the model is right.", "source")
        self._columns: set[str] = set()

    def show(self, status: Status) -> None:
        """Tell how things stand."""
        result = status.result
        scores = {} if result is None else {column.name: column for column in result.columns}
        # A series cannot be taken away from other workers' files, so what is gone becomes NaN.
        for name in self._columns - scores.keys():
            self._score.labels(name).set(math.nan)
            self._threshold.labels(name).set(math.nan)
        for name, column in scores.items():
            self._score.labels(name).set(column.score)
            self._threshold.labels(name).set(column.threshold)
        self._columns |= scores.keys()
        self._verdict.set(math.nan if result is None else _VALUES[result.verdict])
        self._rows.set(result.window.rows if result and result.window else math.nan)
        self._computed.set(math.nan if result is None else time.time() - result.time)
        for source, value in _accuracies(result).items():
            self._accuracy.labels(source).set(value)


def _accuracies(result: DriftResult | None) -> dict[str, float]:
    quality = result.quality if result else None
    if quality is None:
        return dict.fromkeys(("feedback", "mean_confidence", "atc", "reference"), math.nan)
    return {
        "feedback": quality.feedback.accuracy if quality.feedback else math.nan,
        "mean_confidence": quality.estimated.mean_confidence,
        "atc": quality.estimated.atc,
        "reference": quality.reference.accuracy,
    }
