"""The prepared data set as later stages see it: `prepared/dataset.json`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipelines.core.records import read_record, write_record
from serving.contract.model import InputSpec


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
    write_record(path, dataset)


def read_dataset(path: Path) -> Dataset:
    """Read what `write_dataset` wrote.

    Raises:
        ResultCorrupt: the file is missing or damaged.
    """
    return read_record(path, Dataset, stage="prepare")
