"""Score one chunk of a batch, with a model that each process loads once.

Also the progress of the batch as a Prefect artifact.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast
from uuid import UUID

from flows.errors import FlowError
from flows.scoring.sources import Source
from serving.detection.image_reader import FacesMode
from serving.score.scorer import Scorer, fetched_model
from serving.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)
_CACHE = "scoring-flow"


@dataclass(frozen=True, kw_only=True)
class ScoringJob:
    """The source, model and settings of all chunks of a batch; sent to the nodes of a cluster."""

    source: Source
    model: str
    """One version, as `models:/NAME/VERSION`, or a path, so that a promotion does not change the batch."""
    sha256: str
    """SHA-256 of the model's file."""
    faces: FacesMode
    settings: Settings
    """The service's settings on the machine where the batch was started."""


def load_scorer(
    settings: Settings, location: str, *, faces: FacesMode, reference: Path | None = None
) -> Scorer:
    """Load and check a model as the service does.

    Args:
        settings: the service's.
        location: as MIEN_MODEL.
        faces: as `?faces=` of `/detect`.
        reference: folder for a copy of the model's reference table, if it has one.

    Raises:
        ServingError: the model does not exist, or it or its face detector cannot be used.
    """
    import shutil

    from serving.drift.data import REFERENCE

    with fetched_model(settings, location, cache=_CACHE) as found:
        if reference is not None and (found.folder / REFERENCE).exists():
            shutil.copyfile(found.folder / REFERENCE, reference / REFERENCE)
    for warning in found.warnings:
        _log.warning("%s", warning)
    return Scorer.configured(settings, found.live, faces=faces, embedding=True)


def score_files(job: ScoringJob, names: Sequence[str]) -> pa.Table:
    """Score files; returns a table with a row for each name.

    Raises:
        SourceUnusable: the source cannot be read.
        ServingError: the model cannot be loaded on this machine.
    """
    scorer = _scorers.of(job)
    with job.source.laid_out(names, max_bytes=job.settings.max_bytes) as (folder, files):
        (table,) = scorer.tables(folder, [list(files)])
    # Rows have the names of the source, not those of temporary files.
    column = table.schema.get_field_index("path")
    shown = [name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for name in names]
    return table.set_column(column, table.schema.field(column), [shown])


class _ScorerCache:
    """The scorer of this process's job, shared by its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._job: ScoringJob | None = None
        self._scorer: Scorer | None = None

    def keep(self, job: ScoringJob, scorer: Scorer) -> None:
        with self._lock:
            self._job, self._scorer = job, scorer

    def of(self, job: ScoringJob) -> Scorer:
        with self._lock:
            if self._scorer is None or self._job != job:
                self._scorer = load_scorer(job.settings, job.model, faces=job.faces)
                self._job = job
            found = self._scorer.live.identity.sha256
            if found != job.sha256:
                raise FlowError(
                    f"{job.model}: got the file {found[:12]}, expected {job.sha256[:12]} as at the "
                    "start of the batch; start it again with another `out`"
                )
            return self._scorer


_scorers = _ScorerCache()


def keep_scorer(job: ScoringJob, scorer: Scorer) -> None:
    """Use a loaded scorer for the chunks of this process."""
    # A function, because globals of the flow's module are pickled for the nodes, and a lock cannot be.
    _scorers.keep(job, scorer)


KEY = "scoring-progress"


class BatchProgress:
    """Progress artifact with the number of finished chunks."""

    def __init__(self, *, total: int, done: int) -> None:
        """Create the progress; `done` chunks are from an earlier run."""
        self._total = total
        self._done = done
        self._artifact: UUID | None = None

    def __enter__(self) -> Self:
        """Create the artifact."""
        from prefect.artifacts import create_progress_artifact

        # Outside of an event loop Prefect returns the id itself instead of an awaitable.
        self._artifact = cast(
            UUID, create_progress_artifact(self._percent(), key=KEY, description=self._description())
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the artifact unchanged."""

    def step(self) -> None:
        """Count one more finished chunk."""
        from prefect.artifacts import update_progress_artifact

        self._done += 1
        if self._artifact is not None:
            update_progress_artifact(self._artifact, self._percent(), description=self._description())

    def _percent(self) -> float:
        return 100.0 * self._done / max(self._total, 1)

    def _description(self) -> str:
        return f"{self._done} of {self._total} chunks"
