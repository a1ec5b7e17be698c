"""The prepared data set as later stages see it: `prepared/dataset.json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from pipelines.core.errors import ManifestCorrupt
from pipelines.core.io import read_json, write_json
from serving.contract.model import InputSpec
from serving.errors import ContractError


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Identity of the prepared pictures: equal values mean equal pictures."""

    classes: tuple[str, ...]
    """Class names, sorted: the order of every probability column."""
    input: InputSpec
    """How each picture was turned into the network's input."""
    dataset: str
    """SHA-256 over the manifest's content and `input`, see `pipelines.core.manifest.digest`."""


def write_dataset(path: Path, dataset: Dataset) -> None:
    """Write `dataset` as JSON, whole or not at all."""
    write_json(path, asdict(dataset))


def read_dataset(path: Path) -> Dataset:
    """Read what `write_dataset` wrote.

    Raises:
        ManifestCorrupt: the file is absent, not JSON or of another shape.
    """
    try:
        data = read_json(path)
        return Dataset(
            classes=tuple(data["classes"]),
            input=InputSpec(**data["input"]),
            dataset=data["dataset"],
        )
    except OSError as error:
        raise ManifestCorrupt(path=path, reason=error.strerror or str(error)) from error
    except (ValueError, KeyError, TypeError, ContractError) as error:
        raise ManifestCorrupt(path=path, reason=f"not what `prepare` writes ({error})") from error
