"""Fetch the model that a location names now, in a child process, for a program that runs once.

with looked_up("models:/emotion@production", cache=…, tracking_uri=…) as found:
    live = admit(found.folder, threads=1, max_batch=16)
"""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.errors.operation import RegistryUnavailable
from serving.model_sync.location import TRACKING_URI, parse_location
from serving.model_sync.service import absolute_uri
from serving.model_sync.state import Target, locked, read_target, state_folder
from serving.processes import Child
from serving.signatures import signature_check

_LOCK = "lookup.lock"
_AWAY = 3
# As for the poller: a download over a slow line takes minutes; a poll that takes longer hangs.
_MAX_S = 900.0


@dataclass(frozen=True, kw_only=True)
class ResolvedModel:
    """The files of a fetched model."""

    folder: Path
    """Folder with `model.onnx` and `lineage.json`; it exists until the block ends."""
    warnings: tuple[str, ...]


@contextmanager
def resolve_model(
    location: str, *, cache: Path, tracking_uri: str, trusted_keys: Sequence[Path] = ()
) -> Iterator[ResolvedModel]:
    """Fetch the model that a location names.

    Args:
        location: model location, written like MIEN_MODEL.
        cache: folder for models; not the folder of a running service, which has its own poller.
        tracking_uri: MLflow's registry.
        trusted_keys: PEM files of public keys, one of which must have signed the files; without any,
            signatures are not checked.

    Raises:
        LocationInvalid: it is not a model location.
        RegistryUnavailable: nothing is registered there, the files differ from those registered or signed,
            or the registry is unreachable and nothing was fetched before.
    """
    location = str(parse_location(location))
    uri = absolute_uri(tracking_uri)
    folder = state_folder(cache.absolute(), location, uri)
    folder.mkdir(parents=True, exist_ok=True)
    # Another run must not remove the files before they are read.
    with locked(folder / _LOCK):
        away = _poll(location, folder, uri, trusted_keys)
        target = read_target(folder)
        if target is None or target.folder is None or (target.problem is not None and not away):
            raise RegistryUnavailable(_problem(location, target))
        warnings = target.warnings
        if target.problem is not None:
            warnings = (*warnings, f"{target.problem}; version {target.version}, fetched before, is used")
        yield ResolvedModel(folder=folder / target.folder, warnings=warnings)


def _poll(location: str, folder: Path, uri: str, trusted_keys: Sequence[Path]) -> bool:
    """Poll once in a child process, which writes the state file; True if the source is unreachable."""
    keys = [f"--trusted-key={key.absolute()}" for key in trusted_keys]
    arguments = [location, str(folder), *keys]
    child = Child("serving.model_sync.resolve", arguments, environment={TRACKING_URI: uri})
    try:
        status = child.wait(_MAX_S)
    except subprocess.TimeoutExpired:
        return True
    finally:
        child.end()
    if status not in (0, _AWAY):
        raise RegistryUnavailable(
            f"could not look up {location}: the process ended with exit status {status}"
        )
    return status == _AWAY


def _problem(location: str, target: Target | None) -> str:
    if target is None or target.problem is None:
        return f"could not fetch {location}; check MIEN_TRACKING_URI"
    return target.problem


def main() -> None:
    """Poll once."""
    from serving.model_sync.poller import Poller, source_of

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("location")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trusted-key", action="append", default=[], type=Path)
    arguments = parser.parse_args()
    source = source_of(arguments.location, tracking_uri=os.environ.get(TRACKING_URI, ""))
    poller = Poller(source, arguments.folder, signed=signature_check(arguments.trusted_key))
    raise SystemExit(0 if poller.check() else _AWAY)


if __name__ == "__main__":
    main()
