"""Results about one model that several stages read: `origin.json`, `training.json` and `export.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipelines.core import paths
from pipelines.core.dataset import Dataset
from pipelines.core.params import HeadParams, QuantizationParams
from pipelines.core.records import OPTIONAL, read_record
from pipelines.core.variants import architecture_of, is_int8
from serving.contract.model import ConformalThreshold


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the initial weights of an architecture come from: `weights/ARCHITECTURE/origin.json`."""

    origin: str
    """`scratch`, `imagenet`, `drawn` (faces), or `hf:CHECKPOINT`."""
    reason: str
    """The same wherever the same weights were found, so that a moved file retrains nothing."""
    file: str | None
    """Keras' weights file, or the folder of a checkpoint, in the same folder; None for `scratch`."""


@dataclass(frozen=True, kw_only=True)
class BestEpoch:
    """Metrics of the epoch whose weights were kept."""

    val_loss: float
    val_accuracy: float
    val_macro_f1: float


@dataclass(frozen=True, kw_only=True)
class PhaseEpochs:
    """One phase of training."""

    name: str
    epochs: int


@dataclass(frozen=True, kw_only=True)
class TrainingRecord(Dataset):
    """What a trained network is and how its training went: `models/ARCHITECTURE/training.json`.

    The network can be built again from it. `classes` are in the order of the logits.
    """

    architecture: str
    head: HeadParams
    options: Mapping[str, object]
    """The architecture's own, with the numbers of a checkpoint."""
    weights: str
    """See `Origin.origin`."""
    weights_reason: str
    parameters: int
    epochs_run: int
    best_epoch: int
    best: BestEpoch
    phases: tuple[PhaseEpochs, ...]
    precision: str


def read_training_record(path: Path) -> TrainingRecord:
    """Read `training.json`.

    Raises:
        ResultCorrupt: the file is missing or damaged.
    """
    return read_record(path, TrainingRecord, stage=f"train@{path.parent.name}")


@dataclass(frozen=True, kw_only=True)
class FloatModel:
    """The float32 model that an int8 variant was made from, and how far the two agree."""

    sha256: str
    """SHA-256 of its ONNX file."""
    size_bytes: int
    pictures: int
    """Number of validation pictures that both predicted."""
    same_answer: float
    """Share of these pictures with the same predicted class."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """What an ONNX file is and how far it agrees with its source: `onnx/VARIANT/export.json`."""

    architecture: str
    """Name of the variant."""
    temperature: float
    val_nll_before: Annotated[float | None, OPTIONAL] = None
    """Validation loss before and after calibration; None for an int8 variant."""
    val_nll_after: Annotated[float | None, OPTIONAL] = None
    parity: Mapping[str, float]
    """Largest difference by output: from Keras, or from the float32 model."""
    size_bytes: int
    sha256: str
    opset: int
    heatmap: tuple[int, ...]
    """Rows and columns."""
    embedding: int
    """Length."""
    flip_average: Annotated[bool | None, OPTIONAL] = None
    """True if the file averages a picture with its mirror image, otherwise None."""
    sets: Annotated[ConformalThreshold | None, OPTIONAL] = None
    """Threshold of prediction sets, as in the contract; None without one."""
    twin: Annotated[FloatModel | None, OPTIONAL] = None
    """None for a float32 model, as `settings`."""
    settings: Annotated[QuantizationParams | None, OPTIONAL] = None


def read_export(root: Path, name: str) -> Export:
    """Read the record of one variant.

    Raises:
        ResultCorrupt: the file is missing or damaged.
    """
    stage = "quantize" if is_int8(name) else "export"
    return read_record(root / paths.export_record(name), Export, stage=f"{stage}@{architecture_of(name)}")
