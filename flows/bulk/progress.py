"""How far a batch is, as an artifact in Prefect's pages."""

from __future__ import annotations

from types import TracebackType
from typing import Self, cast
from uuid import UUID

KEY = "scoring-progress"


class BatchProgress:
    """Counts finished chunks."""

    def __init__(self, *, total: int, done: int) -> None:
        """Begin with what an earlier run has done."""
        self._total = total
        self._done = done
        self._artifact: UUID | None = None

    def __enter__(self) -> Self:
        """Show it."""
        from prefect.artifacts import create_progress_artifact

        # Called outside of an event loop, Prefect answers with the id itself.
        self._artifact = cast(
            UUID, create_progress_artifact(self._percent(), key=KEY, description=self._said())
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """It stays as it is."""

    def step(self) -> None:
        """One more chunk is done."""
        from prefect.artifacts import update_progress_artifact

        self._done += 1
        if self._artifact is not None:
            update_progress_artifact(self._artifact, self._percent(), description=self._said())

    def _percent(self) -> float:
        return 100.0 * self._done / max(self._total, 1)

    def _said(self) -> str:
        return f"{self._done} of {self._total} chunks"
