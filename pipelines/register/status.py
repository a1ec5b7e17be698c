"""What the registry holds at this moment, and what a run changed in it: read for printing, after the run.

Importing MLflow takes seconds. While the registry's SQLite file is as it was when it was last read, what
was read then is used; any change of the file, such as a promotion in the UI, makes that note void.

A note that the registry was asked and knew: while its file is as it was then, it need not be asked again.

Importing MLflow and opening its store takes 3–6 s on two cores, more than all else that an unchanged `dvc
repro` does; looking at a file takes none. Any change of the SQLite file by anyone, such as a promotion
in the UI, makes the note void. A registry behind a server or in PostgreSQL is always asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.core import paths
from pipelines.core.errors import RegistryError
from pipelines.core.io import read_json, sha256_of, write_json
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import Registry

SETTLED_CACHE = paths.CHECKPOINTS / "register.json"
"""Beside the training state: of this checkout only, and nothing is lost with it."""

_SQLITE = "sqlite:///"
# In WAL mode, recent changes stand in a second file.
_FILES = ("", "-wal", "-journal")

StoreState = list[list[int | str]]


def store_state(uri: str) -> StoreState | None:
    """What changes whenever the registry does; None where that cannot be told from here.

    Take it *before* asking the registry, so that a change meanwhile is noticed the next time.
    """
    if not uri.startswith(_SQLITE):
        return None
    path = uri.removeprefix(_SQLITE)
    state: StoreState = [[uri]]
    for suffix in _FILES:
        try:
            status = Path(f"{path}{suffix}").stat()
        except OSError:
            if not suffix:
                return None
            continue
        state.append([suffix, status.st_ino, status.st_size, status.st_mtime_ns])
    return state


def cache_settled(
    root: Path, state: StoreState | None, case: str, *, stored: Path | None = None, version: int | None = None
) -> None:
    """Note that the registry, in `state`, knew the case with this digest, its version and its stored file."""
    if state is not None:
        more = {"stored": str(stored) if stored else None, "version": version}
        write_json(root / SETTLED_CACHE, _note(root, state, case) | more)


def cached_version(root: Path) -> int | None:
    """Number of the version in the note; ask only where `settled` said that the note holds."""
    found: int | None = read_json(root / SETTLED_CACHE)["version"]
    return found


def is_settled(root: Path, state: StoreState | None, case: str) -> bool:
    """Whether registry, case and `gate.json` are as they were noted."""
    if state is None:
        return False
    try:
        noted = read_json(root / SETTLED_CACHE)
        stored, _ = noted.pop("stored"), noted.pop("version")
        return noted == _note(root, state, case) and (stored is None or Path(stored).is_file())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # no note, or a damaged one


def _note(root: Path, state: StoreState, case: str) -> dict[str, object]:
    return {"store": state, "case": case, "gate": sha256_of(root / paths.GATE)}


STATUS_CACHE = paths.CHECKPOINTS / "registry.json"
"""Beside the training state: of this checkout only, and nothing is lost with it."""


@dataclass(frozen=True, kw_only=True)
class RegisteredVersion:
    """One version."""

    number: int
    sha256: str | None
    """Of the ONNX file."""
    aliases: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class RegistryStatus:
    """Every version of one registered model."""

    model: str
    versions: Sequence[RegisteredVersion]

    def find(self, sha256: str) -> RegisteredVersion | None:
        """The version of one ONNX file; the oldest, should there ever be two."""
        found = [version for version in self.versions if version.sha256 == sha256]
        return min(found, key=lambda version: version.number, default=None)

    def holds(self, number: int) -> bool:
        """Whether there is a version of that number."""
        return any(version.number == number for version in self.versions)


def read_registry_status(root: Path, model: str, *, uri: str | None = None) -> RegistryStatus:
    """Ask the registry, which is not created where there is none yet.

    Args:
        root: the checkout.
        model: name of the registered model.
        uri: MLflow's; None is the one that holds in the current folder.

    Raises:
        RegistryError: it cannot be asked.
    """
    uri = uri or tracking.tracking_uri()
    if uri.startswith(_SQLITE) and not Path(uri.removeprefix(_SQLITE)).exists():
        return RegistryStatus(model=model, versions=())
    state = store_state(uri)
    if state is not None and (noted := _noted(root, model, state)) is not None:
        return noted
    registry = Registry(model, uri=tracking.connect(uri))
    versions = [
        RegisteredVersion(number=one.number, sha256=one.sha256, aliases=one.aliases)
        for one in registry.versions()
    ]
    standing = RegistryStatus(model=model, versions=versions)
    if state is not None:
        write_json(root / STATUS_CACHE, {"store": state, **asdict(standing)})
    return standing


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the gate decided in a run, and what the registry holds afterwards."""

    architecture: str
    passed: bool
    reasons: Sequence[str]
    """Why it did not pass."""
    model: str | None = None
    """Name of the registered model; None where the registry was not asked."""
    version: RegisteredVersion | None = None
    """Of the file that was judged; None where the registry does not hold it."""
    new: bool = False
    """Whether this run registered it."""
    problem: str | None = None
    """Why the registry could not be asked."""

    @property
    def aliases(self) -> str:
        """Of the version, in words."""
        return ", ".join(self.version.aliases if self.version else ()) or "no alias"

    def __str__(self) -> str:
        """For a person: one line, and one for each reason."""
        if not self.passed:
            reasons = "".join(f"\n  - {reason}" for reason in self.reasons)
            return f"Not registered: {self.architecture} did not pass the gate{reasons}"
        if self.problem is not None:
            return f"{self.architecture} passed the gate; whether it is registered is unknown: {self.problem}"
        if self.version is None:
            return f"{self.architecture} passed the gate and is not registered in {self.model}"
        said = "Registered" if self.new else "Already registered"
        return f"{said}: {self.model} version {self.version.number} ({self.architecture}; {self.aliases})"


def decide(
    verdict: Mapping[str, Any], *, before: RegistryStatus | None, ask: Callable[[], RegistryStatus]
) -> Decision:
    """Combine the gate's verdict with the registry's answer.

    Args:
        verdict: what `reports/gate.json` says.
        before: what the registry held before the run; None where it could not be asked.
        ask: asks it now; may raise `RegistryError`.
    """
    said = Decision(
        architecture=verdict["architecture"], passed=verdict["passed"], reasons=verdict["reasons"]
    )
    if not said.passed:
        return said
    try:
        now = ask()
    except RegistryError as error:
        return replace(said, problem=str(error))
    version = now.find(verdict["sha256"])
    new = version is not None and before is not None and not before.holds(version.number)
    return replace(said, model=now.model, version=version, new=new)


def _noted(root: Path, model: str, state: Any) -> RegistryStatus | None:
    try:
        noted = read_json(root / STATUS_CACHE)
        if (noted["store"], noted["model"]) != (state, model):
            return None
        return RegistryStatus(
            model=model, versions=[RegisteredVersion(**version) for version in noted["versions"]]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no note, or a damaged one: the registry is asked
