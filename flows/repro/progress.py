"""Progress of a training in Prefect's pages: one artifact for each architecture, moved by what it prints."""

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
    """Follows the output of one stage; does nothing for stages without epochs."""

    def __init__(self, stage: str) -> None:
        """Name the artifact; it is created with the first epoch."""
        self._architecture = architecture_of(stage)
        self._artifact: UUID | None = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The stage has ended: early stopping leaves no bar half full."""
        if self._artifact is not None and error is None:
            self._update(100.0, None)

    def read(self, line: str) -> None:
        """One line of the stage's output."""
        if self._architecture is not None and (percent := percent_done(line)) is not None:
            self._show(percent, line)

    def _show(self, percent: float, said: str) -> None:
        from prefect.artifacts import create_progress_artifact

        if self._artifact is not None:
            self._update(percent, said)
            return
        key = f"training-progress-{self._architecture}".replace("_", "-").lower()
        # Called outside of an event loop, Prefect answers with the id itself.
        self._artifact = cast(UUID, create_progress_artifact(percent, key=key, description=said))

    def _update(self, percent: float, said: str | None) -> None:
        from prefect.artifacts import update_progress_artifact

        if self._artifact is not None:
            update_progress_artifact(self._artifact, percent, description=said)


def percent_done(line: str) -> float | None:
    """How far the phase is that a line tells of; None for lines that tell of no epoch."""
    if found := _EPOCH.search(line):
        return 100.0 * int(found["done"]) / int(found["all"])
    return 0.0 if _RESUMED.search(line) else None
