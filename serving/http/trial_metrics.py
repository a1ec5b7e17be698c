"""What Prometheus scrapes of the shadow and the canary; implements `serving.experiments.manager.Told`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serving.experiments.canary import Outcome

# From a LeNet on a fast core to a large network on a slow one, at the lowest priority.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class TrialMetrics:
    """Series of their own in the application's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._compared = Counter(
            "mien_shadow_compared", "Pictures that both models answered, by the live one's emotion.",
            ("emotion", "agreed", "version"), registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "mien_shadow_seconds", "Work for one picture: faces, preprocessing, inference.", ("model",),
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._failed = Counter(
            "mien_shadow_failed", "Pictures at which the shadow failed.", registry=registry
        )
        self._dropped = Counter(
            "mien_shadow_dropped", "Sampled pictures that the shadow had no time for.", registry=registry
        )
        self._canary = Counter(
            "mien_canary_requests", "Requests of the canary's share, by what became of them.", ("outcome",),
            registry=registry,
        )  # fmt: skip
        self._trips = Counter("mien_canary_pauses", "How often the canary was paused.", registry=registry)
        self._active = Gauge(
            "mien_canary_active", "1 while the candidate answers its share.",
            registry=registry, multiprocess_mode="livemin",
        )  # fmt: skip

    def compared(self, *, emotion: str, agreed: bool, version: str, live_s: float, shadow_s: float) -> None:
        """Both models answered a picture."""
        self._compared.labels(emotion, str(agreed).lower(), version).inc()
        self._seconds.labels("live").observe(live_s)
        self._seconds.labels("shadow").observe(shadow_s)

    def shadow_failed(self) -> None:
        """The shadow failed at a picture."""
        self._failed.inc()

    def shadow_dropped(self, count: int) -> None:
        """The shadow had no time for so many pictures."""
        self._dropped.inc(count)

    def canary(self, outcome: Outcome) -> None:
        """What became of one request of the canary's share."""
        self._canary.labels(outcome).inc()

    def trip(self) -> None:
        """The canary was paused."""
        self._trips.inc()

    def active(self, active: bool) -> None:
        """Whether the candidate answers its share now."""
        self._active.set(active)
