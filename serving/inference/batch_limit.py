"""How many pictures one batch may have: at most `MIEN_BATCH_SIZE`, fewer where a latency target asks for it.

    limit = BatchLimit(most=16, target_s=0.05)
    limit.of(live)                   # 8
    limit.observe(live, turn)        # after each turn of a worker

A request that arrives just after a batch began waits for that batch, and then for its own. With batches of k
pictures that take t(k) each it is answered after 2 × t(k) at most, as long as no more wait than one batch
takes. So the limit is the largest k with 2 × t(k) ≤ target.

    t(k) = slowdown × network(k) + k × own

`network(k)` is the network's time for k pictures at admission, when nothing else runs. Live batches say the
rest: how much longer the network takes under load, with requests that have several faces or none, and how
long decoding, the search for faces and the answer of one picture take. Both are moving averages.

The limit bounds what a batch adds to the latency. It cannot bound a queue: more requests than the machine can
answer wait ever longer, and smaller batches answer fewer per second.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from serving.inference.model_slot import LiveModel
from serving.inference.onnx_classifier import BATCH_SIZES

_log = logging.getLogger(__name__)
NEWEST = 1 / 16
"""Weight of the newest batch in the moving averages."""
_LOG_EVERY_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Durations of one turn of a worker, seconds."""

    sizes: tuple[int, ...]
    """Sizes of the batches in which the pictures that its requests were expected to have run."""
    infer_s: float
    """Time of the network."""
    own_s: float
    """Time to prepare the pictures and to make the answers."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What pictures of one model take, as far as it is known."""

    network_s: Mapping[int, float] = field(default_factory=dict)
    """Batch size → seconds of the network at admission."""
    slowdown: float = 1.0
    """Seconds of the network in live batches over those at admission."""
    own_s: float = 0.0
    """Seconds of one picture besides the network."""

    def batch_s(self, images: int) -> float:
        """Expected seconds of a batch of this size, one of those in `network_s`."""
        return self.slowdown * self.network_s[images] + images * self.own_s

    def after(self, turn: Turn) -> Costs:
        """The costs with one more turn taken into account."""
        if not self.network_s.keys() >= set(turn.sizes):
            return self
        slowdown = turn.infer_s / sum(self.network_s[size] for size in turn.sizes)
        own_s = turn.own_s / sum(turn.sizes)
        return Costs(
            network_s=self.network_s,
            slowdown=self.slowdown + NEWEST * (slowdown - self.slowdown),
            own_s=self.own_s + NEWEST * (own_s - self.own_s),
        )


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The limit of a batch and its reason."""

    images: int
    """Maximum number of pictures."""
    reason: str
    met: bool = True
    """Whether a single picture is within the target."""


def choose(costs: Costs, *, target_s: float | None, most: int) -> Choice:
    """Choose the largest batch for which one running batch and its own one stay within the target.

    Args:
        costs: what pictures take.
        target_s: seconds from a request's arrival to its answer; None: no target.
        most: `MIEN_BATCH_SIZE`.
    """
    sizes = [size for size in BATCH_SIZES if size <= most]
    if target_s is None or not costs.network_s.keys() >= set(sizes):
        return Choice(images=most, reason="MIEN_BATCH_SIZE")
    within = [size for size in sizes if 2 * costs.batch_s(size) <= target_s]
    if not within:
        return Choice(images=1, reason=f"{_twice(costs, 1)}, more than {1e3 * target_s:g} ms", met=False)
    largest = within[-1]
    if largest == sizes[-1]:
        reason = f"MIEN_BATCH_SIZE; {_twice(costs, largest)}, at most {1e3 * target_s:g} ms"
        return Choice(images=most, reason=reason)
    more = next(size for size in sizes if size > largest)
    reason = f"{_twice(costs, largest)}, at most {1e3 * target_s:g} ms; {_twice(costs, more)}"
    return Choice(images=largest, reason=reason)


def _twice(costs: Costs, images: int) -> str:
    """`two batches of 8 take 2 × 12.5 = 25.0 ms`."""
    batch_ms = 1e3 * costs.batch_s(images)
    return f"two batches of {images} take 2 × {batch_ms:.1f} = {2 * batch_ms:.1f} ms"


class BatchLimit:
    """Limit of the batches of one process; used by the queue and all worker threads."""

    def __init__(self, *, most: int, target_s: float | None = None) -> None:
        """Create the limit.

        Args:
            most: maximum number of pictures in one run.
            target_s: seconds from a request's arrival to its answer; None: the limit is always `most`.
        """
        self.most = most
        self.target_s = target_s
        self._lock = threading.Lock()
        self._known: WeakKeyDictionary[LiveModel, tuple[Costs, Choice]] = WeakKeyDictionary()
        self._said: tuple[int, bool] | None = None
        self._log_at = 0.0

    def of(self, live: LiveModel) -> int:
        """Maximum number of pictures of this model in one batch."""
        return self.choice(live).images

    def choice(self, live: LiveModel) -> Choice:
        """The limit and its reason."""
        with self._lock:
            return self._of(live)[1]

    def observe(self, live: LiveModel, turn: Turn) -> None:
        """Take a turn with this model into account."""
        with self._lock:
            costs = self._of(live)[0].after(turn)
            choice = choose(costs, target_s=self.target_s, most=self.most)
            self._known[live] = costs, choice
        self._say(choice)

    def _of(self, live: LiveModel) -> tuple[Costs, Choice]:
        known = self._known.get(live)
        if known is None:
            costs = Costs(network_s=live.batch_s)
            known = costs, choose(costs, target_s=self.target_s, most=self.most)
            self._known[live] = known
        return known

    def _say(self, choice: Choice) -> None:
        """Log a choice that differs from the last one logged, at most once a minute."""
        now = time.monotonic()
        if (choice.images, choice.met) == self._said or now < self._log_at:
            return
        self._said = choice.images, choice.met
        self._log_at = now + _LOG_EVERY_S
        if choice.met:
            _log.info("batches of at most %d pictures: %s", choice.images, choice.reason)
        else:
            _log.warning(
                "MIEN_TARGET_P99_MS cannot be met, batches have one picture: %s; raise it, or serve a "
                "smaller network",
                choice.reason,
            )
