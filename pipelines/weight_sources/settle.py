"""The stage's output for one architecture: `origin.json` and the weights, replaced only when they differ."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.architectures import Pretrained
from pipelines.core.io import read_json, replacing_folder, write_json
from pipelines.weight_sources.intact import CHECKPOINT_FILES, OPTIONAL_FILES
from pipelines.weight_sources.local import Found, description

_ORIGIN = "origin.json"


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What one architecture starts from."""

    origin: str
    reason: str
    """The same wherever the same weights were found, so that moving house retrains nothing."""
    found: Found | None = None


def resolved(pretrained: Pretrained, found: Found) -> Resolved:
    """Pretrained weights that were found."""
    return Resolved(origin=pretrained.origin, reason=description(found.path, found.name), found=found)


def settle(folder: Path, resolved: Resolved) -> None:
    """Write a folder unless it already holds just this."""
    found = resolved.found
    origin = {
        "origin": resolved.origin,
        "reason": resolved.reason,
        "file": found.name if found else None,
    }
    if _holds(folder, origin, found):
        return
    with replacing_folder(folder) as temporary:
        if found is not None:
            _copy(found.path, temporary / found.name)
        write_json(temporary / _ORIGIN, origin)


def _holds(folder: Path, origin: Mapping[str, Any], found: Found | None) -> bool:
    try:
        if read_json(folder / _ORIGIN) != origin:
            return False
    except (OSError, ValueError):
        return False
    expected = {_ORIGIN} | ({found.name} if found else set())
    if {path.name for path in folder.iterdir()} != expected:
        return False
    return found is None or _same(found.path, folder / found.name)


def _same(source: Path, target: Path) -> bool:
    if source == target:
        return True
    if source.is_dir():
        return target.is_dir() and all(_same(file, target / file.name) for file in _files(source))
    return target.is_file() and filecmp.cmp(source, target, shallow=False)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir()
        for file in _files(source):
            shutil.copyfile(file, target / file.name)
    else:
        shutil.copyfile(source, target)


def _files(checkpoint: Path) -> Iterable[Path]:
    names = (*CHECKPOINT_FILES, *OPTIONAL_FILES)
    return (checkpoint / name for name in names if (checkpoint / name).is_file())
