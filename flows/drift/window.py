"""The served model's newest observations against its reference; the result goes where the service looks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.drift.result import DriftRequest, DriftResult, WindowRule
from serving.drift.runner import compute_in_process
from serving.drift.store import DriftStore, ModelKey
from serving.errors import WindowTooSmall
from serving.inference.model_slot import ModelIdentity, read_identity
from serving.model_sync.resolve import resolve_model
from serving.observations.images import PictureFolder
from serving.observations.store import Store
from serving.settings import Settings

_DAY_S = 24 * 3600.0
_CACHE = "flows"
# Results of a week in five-minute steps: more than the longest run of windows that anybody waits for.
_REMEMBERED = 2000


@dataclass(frozen=True, kw_only=True)
class DriftWindow:
    """A window, the ones before it, and its files, which are deleted when the block ends."""

    identity: ModelIdentity
    """Of the served model."""
    result: DriftResult
    earlier: tuple[DriftResult, ...]
    """Of the same model, the newest first, without `result`."""
    html: Path | None
    """Evidently's page; None without a verdict."""
    snapshot: Path | None
    """Evidently's run as JSON; None without a verdict."""


@contextmanager
def compute_window(settings: Settings) -> Iterator[DriftWindow]:
    """Compute the drift of the model that the service follows, and keep it in the database.

    Raises:
        LocationInvalid: `MIEN_MODEL` names nothing that can be followed.
        RegistryUnavailable: no model is in production, or the registry does not say.
        WindowTooSmall: there are too few observations of it for a verdict.
        StoreUnavailable: the database is away.
    """
    # A place of its own: the service's is written by its follower.
    cache = settings.cache_dir / _CACHE
    with resolve_model(settings.model, cache=cache, tracking_uri=settings.tracking_uri.reveal()) as found:
        identity = read_identity(found.folder)
        _prepare(settings)
        ledger = DriftStore(settings.database_url.reveal())
        try:
            model = ModelKey(version=identity.version, sha256=identity.sha256)
            request = drift_request(settings, identity, found.folder)
            _check_size(ledger, model, request.window)
            earlier = tuple(ledger.recent(model, _REMEMBERED))
            with compute_in_process(request) as done:
                html = done.html.read_bytes() if done.html is not None else None
                ledger.keep(done.result, html=html, retention_s=settings.retention_days * _DAY_S)
                yield DriftWindow(
                    identity=identity,
                    result=done.result,
                    earlier=earlier,
                    html=done.html,
                    snapshot=done.snapshot,
                )
        finally:
            ledger.close()


def drift_request(settings: Settings, identity: ModelIdentity, folder: Path) -> DriftRequest:
    """What the service itself would compute with these settings."""
    return DriftRequest(
        database_url=settings.database_url.reveal(),
        model_folder=str(folder),
        model_version=identity.version,
        model_sha256=identity.sha256,
        window=WindowRule(
            last_n=settings.drift_last_n,
            last_s=settings.drift_last_s,
            min_rows=settings.drift_min_rows,
            max_rows=settings.drift_max_rows,
        ),
        false_alarms=settings.drift_false_alarms,
        pictures_per_person=settings.drift_pictures_per_person,
    )


def _check_size(ledger: DriftStore, model: ModelKey, rule: WindowRule) -> None:
    since = None if rule.last_s is None else time.time() - rule.last_s
    rows = ledger.count(model, up_to=rule.min_rows, since=since)
    if rows < rule.min_rows:
        raise WindowTooSmall(got=rows, expected=rule.min_rows, version=model.version)


def _prepare(settings: Settings) -> None:
    """Make the tables where no service has run yet: the window then is empty, which is no error."""
    store = Store(
        settings.database_url.reveal(), pictures=PictureFolder(settings.keep_images_dir, fraction=0.0)
    )
    try:
        store.prepare()
    finally:
        store.close()
