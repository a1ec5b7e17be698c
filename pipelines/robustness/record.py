"""What `robustness` measured of one model: `reports/robustness.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.core import paths
from pipelines.core.records import read_record
from pipelines.metrics.bootstrap import IntervalEstimate


@dataclass(frozen=True, kw_only=True)
class WorstCase:
    """The corruption and severity at which the model is right least often."""

    corruption: str
    severity: int
    accuracy: IntervalEstimate


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of the answers to corrupted test pictures; intervals are 95 %, by resampling people."""

    images: int
    """Pictures, each corrupted in every way."""
    people: int
    clean_accuracy: IntervalEstimate
    """On the same pictures as they are."""
    corrupted_accuracy: IntervalEstimate
    """Mean over all corruptions and severities."""
    mean_corruption_error: IntervalEstimate
    """1 − `corrupted_accuracy`."""
    extra_error: IntervalEstimate
    """`mean_corruption_error` minus the error on the same pictures as they are."""
    worst: WorstCase
    clean_ece: IntervalEstimate
    """Expected calibration error on the pictures as they are."""
    corrupted_ece: IntervalEstimate
    """On all corrupted pictures together."""
    corruptions: Mapping[str, tuple[IntervalEstimate, ...]]
    """Accuracy at each severity, by the names of `pipelines.robustness.corruptions.CORRUPTIONS`."""
    right: tuple[int, ...]
    """How many corrupted versions of each picture are answered right, in the order of the draw."""


@dataclass(frozen=True, kw_only=True)
class Robustness(Scores):
    """One model and its scores: `reports/robustness.json`."""

    architecture: str
    """Name of the variant."""
    sha256: str
    """SHA-256 of its ONNX file."""
    draw: str
    """Digest of the pictures, see `pipelines.robustness.pictures.draw_digest`."""


def read_robustness(root: Path) -> Robustness:
    """Read `reports/robustness.json`.

    Raises:
        ResultCorrupt: the file is missing or damaged.
    """
    return read_record(root / paths.ROBUSTNESS, Robustness, stage="robustness")
