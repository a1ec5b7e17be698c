"""Progress of a training as a Prefect artifact, one for each architecture, read from the stage's output."""

from __future__ import annotations

import re
from types import TracebackType
from typing import Self, cast
from uuid import UUID

from flows.repro.graph import architecture_of

# `vgg  epoch 3 (train 3/20)  431 images/s  1:20 left  …`, from pipelines/train/loop.py and progress.py.
_EPOCH = re.compile(
    r"epoch \d+ \((?P<phase>[\w -]+) (?P<done>\d+)/(?P<all>\d+)\)\s+(?P<rest>[\d,]+ images/s.* left .*)$"
)
_RESUMED = re.compile(r"resuming after epoch \d+")


class EpochProgress:
    """Updates the artifact from the output of one stage; does nothing for stages without epochs."""

    def __init__(self, stage: str) -> None:
        """Create the progress; the artifact is created with the first epoch."""
        self._architecture = architecture_of(stage)
        self._artifact: UUID | None = None

    def __enter__(self) -> Self:
        """Return the progress."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Set 100 % after success, also when early stopping ended the training."""
        if self._artifact is not None and error is None:
            self._update(100.0, None)

    def read(self, line: str) -> None:
        """Read one line of the stage's output."""
        if self._architecture is not None and (percent := percent_done(line)) is not None:
            self._show(percent, line)

    def _show(self, percent: float, description: str) -> None:
        from prefect.artifacts import create_progress_artifact

        if self._artifact is not None:
            self._update(percent, description)
            return
        key = f"training-progress-{self._architecture}".replace("_", "-").lower()
        # Outside of an event loop Prefect returns the id itself instead of an awaitable.
        self._artifact = cast(UUID, create_progress_artifact(percent, key=key, description=description))

    def _update(self, percent: float, description: str | None) -> None:
        from prefect.artifacts import update_progress_artifact

        if self._artifact is not None:
            update_progress_artifact(self._artifact, percent, description=description)


def percent_done(line: str) -> float | None:
    """Progress of the training phase in a line, in percent; None for a line without an epoch."""
    if found := _EPOCH.search(line):
        return 100.0 * int(found["done"]) / int(found["all"])
    return 0.0 if _RESUMED.search(line) else None
