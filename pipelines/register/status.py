"""Read the status of the registry, with two caches that avoid opening a registry that has not changed.

Importing MLflow and opening its store takes 3–6 s on two cores, more than everything else that an unchanged
`dvc repro` does. The caches are valid while the registry's SQLite file is unchanged; any change of the file,
such as a promotion in the UI, invalidates them. A registry behind a server or in PostgreSQL is always read.

The first cache records that the registry already has a verdict (`cache_settled`, `is_settled`), the second
one the versions of a model (`read_registry_status`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.core import paths
from pipelines.core.errors import RegistryError, ResultCorrupt
from pipelines.core.io import sha256_of
from pipelines.core.records import read_record, write_record
from pipelines.gate.record import GateVerdict
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import Registry

SETTLED_CACHE = paths.CHECKPOINTS / "register.json"
"""Stored with the training state: it belongs to this checkout and may be deleted."""

_SQLITE = "sqlite:///"
# In WAL mode, recent changes are in a second file.
_FILES = ("", "-wal", "-journal")

StoreState = tuple[tuple[int | str, ...], ...]


def store_state(uri: str) -> StoreState | None:
    """Return a value that changes whenever the registry changes; None if it is not an SQLite file.

    Call it *before* reading the registry, so that a concurrent change is noticed the next time.
    """
    if not uri.startswith(_SQLITE):
        return None
    path = uri.removeprefix(_SQLITE)
    state: list[tuple[int | str, ...]] = [(uri,)]
    for suffix in _FILES:
        try:
            status = Path(f"{path}{suffix}").stat()
        except OSError:
            if not suffix:
                return None
            continue
        state.append((suffix, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(state)


@dataclass(frozen=True, kw_only=True)
class _Settled:
    """State in which the registry had a verdict: the first cache."""

    store: StoreState
    case: str
    gate: str
    """SHA-256 of `gate.json`."""
    stored: str | None
    """Path of the version's ONNX file; None if it is not a local file."""
    version: int | None


def cache_settled(
    root: Path, state: StoreState | None, case: str, *, stored: Path | None = None, version: int | None = None
) -> None:
    """Record that the registry, in `state`, had the verdict of this case, its version and its stored file."""
    if state is not None:
        gate = sha256_of(root / paths.GATE)
        file = str(stored) if stored else None
        record = _Settled(store=state, case=case, gate=gate, stored=file, version=version)
        write_record(root / SETTLED_CACHE, record)


def cached_version(root: Path) -> int | None:
    """Return the version number in the cache; call only if `is_settled` returned True."""
    return read_record(root / SETTLED_CACHE, _Settled, stage="register").version


def is_settled(root: Path, state: StoreState | None, case: str) -> bool:
    """Whether registry, case and `gate.json` are unchanged since they were cached."""
    if state is None:
        return False
    try:
        cached = read_record(root / SETTLED_CACHE, _Settled, stage="register")
        now = replace(cached, store=state, case=case, gate=sha256_of(root / paths.GATE))
    except (OSError, ResultCorrupt):
        return False  # no cache, or a damaged one
    return cached == now and (cached.stored is None or Path(cached.stored).is_file())


STATUS_CACHE = paths.CHECKPOINTS / "registry.json"
"""Stored with the training state: it belongs to this checkout and may be deleted."""


@dataclass(frozen=True, kw_only=True)
class RegisteredVersion:
    """One version of a registered model."""

    number: int
    sha256: str | None
    """SHA-256 of the ONNX file."""
    aliases: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RegistryStatus:
    """All versions of one registered model."""

    model: str
    versions: tuple[RegisteredVersion, ...]

    def find(self, sha256: str) -> RegisteredVersion | None:
        """Find the version of an ONNX file; the oldest one if there are several."""
        found = [version for version in self.versions if version.sha256 == sha256]
        return min(found, key=lambda version: version.number, default=None)

    def holds(self, number: int) -> bool:
        """Whether a version with this number exists."""
        return any(version.number == number for version in self.versions)


def read_registry_status(root: Path, model: str, *, uri: str | None = None) -> RegistryStatus:
    """Read the registry, without creating one if there is none yet.

    Args:
        root: the checkout.
        model: name of the registered model.
        uri: URI of MLflow; None for the one configured for the current folder.

    Raises:
        RegistryError: the registry cannot be reached.
    """
    uri = uri or tracking.tracking_uri()
    if uri.startswith(_SQLITE) and not Path(uri.removeprefix(_SQLITE)).exists():
        return RegistryStatus(model=model, versions=())
    state = store_state(uri)
    if state is not None and (cached := _cached_status(root, model, state)) is not None:
        return cached
    registry = Registry(model, uri=tracking.connect(uri))
    versions = tuple(
        RegisteredVersion(number=one.number, sha256=one.sha256, aliases=tuple(one.aliases))
        for one in registry.versions()
    )
    if state is not None:
        write_record(root / STATUS_CACHE, _Cached(store=state, model=model, versions=versions))
    return RegistryStatus(model=model, versions=versions)


@dataclass(frozen=True, kw_only=True)
class _Cached(RegistryStatus):
    """The second cache."""

    store: StoreState


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Verdict of the gate in a run, and the registered version afterwards."""

    architecture: str
    passed: bool
    reasons: Sequence[str]
    """Why the model did not pass, or is held."""
    held: bool = False
    """Whether it is registered without an alias, for a person to decide."""
    model: str | None = None
    """Name of the registered model; None if the registry was not read."""
    version: RegisteredVersion | None = None
    """Version of the selected file; None if the registry does not contain it."""
    new: bool = False
    """Whether this run registered the version."""
    problem: str | None = None
    """Why the registry could not be reached."""

    @property
    def aliases(self) -> str:
        """The version's aliases as text."""
        return ", ".join(self.version.aliases if self.version else ()) or "no alias"

    def __str__(self) -> str:
        """Return a message of one line, followed by one line for each reason."""
        if not self.passed:
            reasons = "".join(f"\n  - {reason}" for reason in self.reasons)
            return f"Not registered: {self.architecture} did not pass the quality gate{reasons}"
        if self.problem is not None:
            return (
                f"{self.architecture} passed the quality gate; "
                f"the registry could not be reached: {self.problem}"
            )
        if self.version is None:
            return f"{self.architecture} passed the quality gate and is not registered in {self.model}"
        event = "Registered" if self.new else "Already registered"
        version = f"{self.model} version {self.version.number} ({self.architecture}; {self.aliases})"
        if self.held:
            reasons = "".join(f"\n  - {reason}" for reason in self.reasons)
            return f"{event} and held for a person to decide: {version}{reasons}"
        return f"{event}: {version}"


def decide(
    verdict: GateVerdict, *, before: RegistryStatus | None, ask: Callable[[], RegistryStatus]
) -> Decision:
    """Combine the gate's verdict with the status of the registry.

    Args:
        verdict: verdict of the gate.
        before: status of the registry before the run; None if it could not be reached.
        ask: reads the status now; may raise `RegistryError`.
    """
    decision = Decision(
        architecture=verdict.architecture, passed=verdict.passed, reasons=verdict.reasons, held=verdict.held
    )
    if not decision.passed:
        return decision
    try:
        now = ask()
    except RegistryError as error:
        return replace(decision, problem=str(error))
    version = now.find(verdict.sha256)
    new = version is not None and before is not None and not before.holds(version.number)
    return replace(decision, model=now.model, version=version, new=new)


def _cached_status(root: Path, model: str, state: StoreState) -> RegistryStatus | None:
    try:
        cached = read_record(root / STATUS_CACHE, _Cached, stage="register")
    except ResultCorrupt:
        return None  # no cache, or a damaged one: the registry is read
    if (cached.store, cached.model) != (state, model):
        return None
    return RegistryStatus(model=model, versions=cached.versions)
