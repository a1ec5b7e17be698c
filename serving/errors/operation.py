"""Errors of running the service: observation database, drift, registry, scoring, start."""

from __future__ import annotations

from pathlib import Path

from serving.errors import ServingError
from serving.urls import mask_urls


class StoreError(ServingError):
    """The observation database cannot be used, now or at all."""


class StoreUnavailable(StoreError):
    """The database is unreachable, full, read-only or broken; it may recover."""

    def __init__(self, *, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(f"{url}: {reason}; the service goes on, start the database or make room for it")


class RowsRefused(StoreError):
    """The database works but does not accept a value."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"the database refuses a row: {reason}; nothing was written")


class StoreUrlInvalid(StoreError):
    """A database URL that cannot be used."""

    def __init__(self, *, reason: str) -> None:
        # Without the URL: it may hold a password.
        super().__init__(
            f"MIEN_DATABASE_URL: {reason}; expected sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"
        )


class StoreTooNew(StoreError):
    """A newer service has changed the tables."""

    def __init__(self, *, url: str, found: int, known: int) -> None:
        self.found = found
        self.known = known
        super().__init__(
            f"{url}: its tables have version {found}, this service knows up to {known}; "
            "start the newer service or name another database"
        )


class StoreIncomplete(StoreError):
    """The tables have this service's version but lack columns."""

    def __init__(self, *, url: str, missing: list[str]) -> None:
        self.missing = tuple(missing)
        super().__init__(
            f"{url}: its tables lack {', '.join(missing)}, expected those of this service's version; "
            "restore a backup or name another database"
        )


class DriftUnknown(ServingError):
    """Drift could not be computed; requests are still served."""


class WindowTooSmall(DriftUnknown):
    """Too few observations, or none."""

    def __init__(self, *, got: int, expected: int, version: str) -> None:
        self.got = got
        self.expected = expected
        super().__init__(
            f"{_only(got, 'observation')} of version {version} in the window, expected at least {expected}; "
            "wait for more requests, or lower MIEN_DRIFT_MIN_ROWS"
        )


class BatchTooSmall(DriftUnknown):
    """A batch of scored pictures has too few answers for a comparison, or none."""

    def __init__(self, *, got: int, expected: int, version: str) -> None:
        self.got = got
        self.expected = expected
        super().__init__(
            f"the batch has {_only(got, 'answer')} of version {version}, expected at least {expected}; "
            "score a larger batch, or lower MIEN_DRIFT_MIN_ROWS"
        )


class TimesAhead(DriftUnknown):
    """Observations or results are dated in the future and left out."""

    def __init__(self, *, observations: int, results: int, ahead_s: float) -> None:
        self.observations = observations
        self.results = results
        self.ahead_s = ahead_s
        super().__init__(
            f"dated in the future, by up to {ahead_s:.0f} s, and left out: "
            f"{_counted(observations, 'observation')} and {_counted(results, 'result')}; "
            "a clock is or was wrong: correct the machines' clocks"
        )


def _counted(count: int, one: str) -> str:
    """Return a count and its noun in the right number."""
    return f"{count} {one}" if count == 1 else f"{count} {one}s"


def _only(count: int, one: str) -> str:
    return f"only {_counted(count, one)}" if count else f"no {one}s"


class ReferenceUnusable(DriftUnknown):
    """The model has no reference, or one that cannot be used for a comparison."""

    def __init__(self, *, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}; serve a version that `make run` registered, with its reference")


class DriftFailed(DriftUnknown):
    """The process that computes drift failed."""

    def __init__(self, *, reason: str) -> None:
        self.reason = reason
        super().__init__(f"drift could not be computed: {reason}; the next attempt comes by itself")


class LocationInvalid(ServingError):
    """A model location is neither a registered model nor a usable path."""

    def __init__(self, *, got: str, reason: str, setting: str = "MIEN_MODEL") -> None:
        self.got = got
        super().__init__(
            f"{setting}={mask_urls(got)!r}: {reason}; expected models:/NAME@ALIAS, models:/NAME/VERSION, "
            "models:/NAME/STAGE, or the path of an ONNX file or of a folder with model.onnx"
        )


class StartRefused(ServingError):
    """The service cannot start with its settings or on this machine; the message says why."""


class RegistryUnavailable(ServingError):
    """The registry is unreachable or too slow, or its answers cannot be used."""


class NothingRegistered(RegistryUnavailable):
    """The registry answers but has no such version."""


class ScoringRefused(ServingError):
    """A folder or a video cannot be scored as requested."""


class VideoUnreadable(ScoringRefused):
    """A file is not a video that can be read, or its frames are too large."""

    def __init__(self, *, path: Path, reason: str, expected: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(
            f"{path}: {reason}, {expected}; check the file in a player, or convert it with ffmpeg"
        )


class VideoUnwritable(ScoringRefused):
    """A video file cannot be written here."""

    def __init__(self, *, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}; name a file that ends with .webm, or leave out --annotated")


class OutputTaken(ScoringRefused):
    """The output file exists and holds something else."""

    def __init__(self, *, path: Path) -> None:
        self.path = path
        super().__init__(
            f"{path} is there already, and not from this model, folder or video, and options; "
            "remove it or name another file"
        )


class ScoringBegunOtherwise(ScoringRefused):
    """A run was started with another model or with other options."""

    def __init__(self, *, parts: Path, what: str, begun: object, now: object) -> None:
        self.what = what
        super().__init__(
            f"{parts} was begun with {what} {begun!r}, now it is {now!r}; "
            "finish it with these options, or remove that folder to start again"
        )
