"""The model that answers, and the slot that it is exchanged in.

    with slot.lease() as live:
        images = [preprocess(picture, live.contract.input) for picture in pictures]
        prediction = await batcher.predict(np.stack(images), live=live, deadline_s=5.0)

A lease is a reference: the session lives for as long as any request holds its `LiveModel`, and is
freed by the last one to let go. No count is kept, so none can be wrong, and nobody waits for anybody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from serving.contract import ModelContract
from serving.errors import ModelRefused, NotReady
from serving.inference import OnnxClassifier
from serving.runtime.identity import ModelIdentity


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveModel:
    """A model that passed admission."""

    classifier: OnnxClassifier
    identity: ModelIdentity
    folder: Path
    """Where its files lie: the model, `card.md`, `reference.parquet`, …"""
    warnings: tuple[str, ...] = ()
    """What admission let pass but a person should know."""
    since: float = field(default_factory=time.time)
    """Unix time of its admission, seconds."""

    @property
    def contract(self) -> ModelContract:
        """What it expects and answers."""
        return self.classifier.contract


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A version that failed a check."""

    version: str
    sha256: str
    step: str
    """`download`, `lineage`, `digest`, `contract`, `detector`, `warm-up`, `self-test`; when live, `run`."""
    reason: str
    time: float
    """Unix time, seconds."""

    @classmethod
    def of(cls, error: ModelRefused) -> Refusal:
        """Now, for this reason."""
        return cls(
            version=error.version,
            sha256=error.sha256,
            step=error.step,
            reason=error.reason,
            time=time.time(),
        )


class ModelSlot:
    """Holds the live model; read by every request, written by one watcher."""

    def __init__(self) -> None:
        self._current: LiveModel | None = None
        self._lock = threading.Lock()
        self.reason = "no model yet: the service is starting"
        """While nothing is live: why. Afterwards: why this one is."""
        self.refused: Refusal | None = None
        """The last version that failed, until another one is admitted."""
        self.switches = 0
        """How often a model was put in, the first one included."""
        self.refusals = 0
        """How many versions failed."""

    @property
    def current(self) -> LiveModel | None:
        """The live model, if there is one."""
        return self._current

    def require(self) -> LiveModel:
        """The live model.

        Raises:
            NotReady: there is none; the message says why.
        """
        live = self._current
        if live is None:
            raise NotReady(reason=self.reason)
        return live

    @contextmanager
    def lease(self) -> Iterator[LiveModel]:
        """The live model, usable for as long as the block runs even when it is replaced meanwhile.

        Raises:
            NotReady: there is none.
        """
        yield self.require()

    def switch(self, new: LiveModel, reason: str) -> LiveModel | None:
        """Put `new` in; requests from now on get it. Returns the one before."""
        with self._lock:
            previous, self._current = self._current, new
            self.reason = reason
            self.refused = None
            self.switches += 1
        return previous

    def withdraw(self, error: ModelRefused) -> None:
        """Take the live model out; until another one is put in, nothing is live."""
        with self._lock:
            self._current = None
            self.reason = f"no model is live: {error}"
            self.refused = Refusal.of(error)
            self.refusals += 1

    def refuse(self, error: ModelRefused) -> None:
        """Note that a version was not put in."""
        with self._lock:
            self.refused = Refusal.of(error)
            self.refusals += 1

    def waiting(self, reason: str) -> None:
        """Say why nothing is live; without effect when something is."""
        with self._lock:
            if self._current is None:
                self.reason = reason
