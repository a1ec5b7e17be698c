"""Which model this is, and where it comes from: what every answer and every row carries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from serving.errors import ModelRefused

LINEAGE = "lineage.json"
"""Beside a model's file in the cache: its identity, written by whoever fetched it."""


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """One version of one model."""

    name: str
    """Of the registered model; for a file, its own name or its folder's."""
    version: str
    """Number in the registry, or `local` for a file."""
    sha256: str
    """Of the ONNX file, hexadecimal."""
    source: str
    """URI or path that it was fetched from."""
    run_id: str | None = None
    """MLflow run that it comes from."""
    git_commit: str | None = None
    """Of the code that trained it."""
    dataset: str = ""
    """Manifest hash of the data that it was trained on; empty when unknown."""
    data_dvc: str | None = None
    """DVC's hash of the original data."""
    architecture: str = ""
    weights: str = ""
    """Where its training started."""
    sample: bool = False
    """Trained on the procedural sample: a demonstration, not for real faces."""

    @property
    def key(self) -> tuple[str, str]:
        """(version, sha256): what tells two models apart."""
        return self.version, self.sha256

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelIdentity:
        """From what `to_dict` gave; keys of a later release are passed over.

        Raises:
            ValueError: a field is missing or of the wrong type.
        """
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        for name, value in known.items():
            if not (
                isinstance(value, bool)
                if name == "sample"
                else _is_text(value) or (value is None and name in _OPTIONAL)
            ):
                raise ValueError(f"{name} is {value!r}")
        try:
            return cls(**known)
        except TypeError as error:
            raise ValueError(str(error)) from error


_OPTIONAL = {"run_id", "git_commit", "data_dvc"}


def _is_text(value: object) -> bool:
    """Whether every answer can carry it: JSON's writer refuses a lone surrogate."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def read_identity(folder: Path) -> ModelIdentity:
    """Identity of the model in a cached folder.

    Raises:
        ModelRefused: the file is absent or damaged.
    """
    try:
        return ModelIdentity.from_dict(json.loads((folder / LINEAGE).read_bytes()))
    except (OSError, ValueError, AttributeError) as error:
        raise ModelRefused(
            version=folder.name, sha256="", step="lineage", reason=f"{LINEAGE} cannot be read ({error})"
        ) from error


def write_identity(folder: Path, identity: ModelIdentity) -> None:
    """Lay the identity beside the model; the folder is not in its place yet, so nobody reads it meanwhile."""
    text = json.dumps(identity.to_dict(), indent=2, sort_keys=True)
    (folder / LINEAGE).write_text(text + "\n", encoding="utf-8")
