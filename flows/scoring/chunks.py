"""One chunk of a batch: laid out, scored; the model is loaded once by each process that scores.

How far a batch is, as an artifact in Prefect's pages.
"""

from __future__ import annotations

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
from serving.inference.admission import admit
from serving.score.scorer import BATCH, Scorer
from serving.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

_CACHE = "scoring-flow"


@dataclass(frozen=True, kw_only=True)
class ScoringJob:
    """What every chunk of a batch has in common; travels to wherever chunks are scored."""

    source: Source
    model: str
    """One version, as `models:/NAME/VERSION`, or a path: a promotion meanwhile changes nothing."""
    sha256: str
    """Of that model's file."""
    faces: FacesMode
    settings: Settings
    """The service's, of the machine that the batch was started on."""


def load_scorer(
    settings: Settings, location: str, *, faces: FacesMode, reference: Path | None = None
) -> Scorer:
    """The model behind a location, checked as the service checks it, and ready to score.

    Args:
        settings: the service's.
        location: as MIEN_MODEL.
        faces: as `?faces=` of `/detect`.
        reference: folder that the model's reference table is copied to, if it has one.

    Raises:
        ServingError: there is no such model, or it or its face detector cannot be used.
    """
    import shutil

    from serving.drift.data import REFERENCE
    from serving.model_sync.resolve import resolve_model

    cache = settings.cache_dir / _CACHE
    with resolve_model(location, cache=cache, tracking_uri=settings.tracking_uri.reveal()) as found:
        live = admit(found.folder, threads=1, max_batch=BATCH, limit_s=settings.model_timeout_s)
        if reference is not None and (found.folder / REFERENCE).exists():
            shutil.copyfile(found.folder / REFERENCE, reference / REFERENCE)
    return Scorer.configured(settings, live, faces=faces, embedding=True)


def score_files(job: ScoringJob, names: Sequence[str]) -> pa.Table:
    """One table, a row for each name.

    Raises:
        SourceUnusable: the source is away.
        ServingError: the model is not to be had here.
    """
    scorer = _scorers.of(job)
    with job.source.laid_out(names, max_bytes=job.settings.max_bytes) as (folder, files):
        (table,) = scorer.tables(folder, [list(files)])
    # Rows are called as the source calls its files, wherever they lay while they were read.
    column = table.schema.get_field_index("path")
    shown = [name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for name in names]
    return table.set_column(column, table.schema.field(column), [shown])


class _Scorers:
    """The scorer of this process's job, for all of its threads."""

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
                    f"{job.model} is {found[:12]} here, the batch was begun with {job.sha256[:12]}; "
                    "begin it anew"
                )
            return self._scorer


_scorers = _Scorers()


def keep_scorer(job: ScoringJob, scorer: Scorer) -> None:
    """Have chunks of this process use a scorer, so that it is not fetched a second time."""
    # Not a method of the object above: what the flow's module names travels to the nodes, and a lock cannot.
    _scorers.keep(job, scorer)


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
