"""Drift of the newest observations against the served model's reference, stored for the service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.drift.result import DriftRequest, DriftResult, WindowRule
from serving.drift.runner import compute_in_process
from serving.drift.store import DriftStore, ModelKey
from serving.errors.operation import WindowTooSmall
from serving.inference.model_slot import ModelIdentity, read_identity
from serving.model_sync.resolve import resolve_model
from serving.observations.images import PictureFolder
from serving.observations.store import Store
from serving.settings import Settings

_DAY_S = 24 * 3600.0
_CACHE = "flows"
# Results of a week in five-minute steps, more than the longest row of windows that an alarm needs.
_MAX_RESULTS = 2000


@dataclass(frozen=True, kw_only=True)
class DriftWindow:
    """The result of a window, earlier results, and files, which exist until the block ends."""

    identity: ModelIdentity
    """Of the served model."""
    result: DriftResult
    earlier: tuple[DriftResult, ...]
    """Earlier results of the same model, newest first."""
    html: Path | None
    """Evidently's page; None without a verdict."""
    snapshot: Path | None
    """Evidently's run as JSON; None without a verdict."""


@contextmanager
def compute_window(settings: Settings) -> Iterator[DriftWindow]:
    """Compute the drift of the served model, and store it in the database.

    Raises:
        LocationInvalid: `MIEN_MODEL` is not a location of a model.
        RegistryUnavailable: no model is in production, or the registry does not answer.
        WindowTooSmall: the model has too few observations for a verdict.
        StoreUnavailable: the database does not answer.
    """
    # Its own folder, because the service writes to the other one.
    cache = settings.cache_dir / _CACHE
    keys, uri = settings.trusted_keys, settings.tracking_uri.reveal()
    with resolve_model(settings.model, cache=cache, tracking_uri=uri, trusted_keys=keys) as found:
        identity = read_identity(found.folder)
        _prepare(settings)
        store = DriftStore(settings.database_url.reveal())
        try:
            model = ModelKey(version=identity.version, sha256=identity.sha256)
            request = drift_request(settings, identity, found.folder)
            _check_size(store, model, request.window)
            earlier = tuple(store.recent(model, _MAX_RESULTS))
            with compute_in_process(request) as done:
                html = done.html.read_bytes() if done.html is not None else None
                store.keep(done.result, html=html, retention_s=settings.retention_days * _DAY_S)
                yield DriftWindow(
                    identity=identity,
                    result=done.result,
                    earlier=earlier,
                    html=done.html,
                    snapshot=done.snapshot,
                )
        finally:
            store.close()


def drift_request(settings: Settings, identity: ModelIdentity, folder: Path) -> DriftRequest:
    """The computation that the service would run with these settings."""
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


def _check_size(store: DriftStore, model: ModelKey, rule: WindowRule) -> None:
    since = None if rule.last_s is None else time.time() - rule.last_s
    rows = store.count(model, up_to=rule.min_rows, since=since)
    if rows < rule.min_rows:
        raise WindowTooSmall(got=rows, expected=rule.min_rows, version=model.version)


def _prepare(settings: Settings) -> None:
    """Create the tables if no service has run yet; the window is then empty, which is not an error."""
    store = Store(
        settings.database_url.reveal(), pictures=PictureFolder(settings.keep_images_dir, fraction=0.0)
    )
    try:
        store.prepare()
    finally:
        store.close()
