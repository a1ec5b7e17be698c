"""Results that several stages read: `metrics.json`, `machine.json`, `latency.json` and `comparison.json`.

A latency means little without its circumstances: on a shared machine the same model is twice as slow on a
busy afternoon. Therefore `latency.json` holds them, and every table that shows latencies prints them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pipelines.core import paths
from pipelines.core.records import OPTIONAL, read_record
from pipelines.core.variants import architecture_of
from pipelines.machine import Machine
from pipelines.metrics.attributes import AttributeScores
from pipelines.metrics.summary import BasicScores, ClassScores, ComparedScores, TestScores


@dataclass(frozen=True, kw_only=True)
class Crops:
    """What cropping to the face changes: the same pictures, whole and cropped."""

    detector: str
    margin: float
    """Around the face, as a fraction of the box's longer side."""
    images: int
    """All test pictures."""
    found: int
    """Test pictures in which the detector finds a face."""
    whole: BasicScores
    """On the pictures with a face, whole."""
    face: BasicScores
    """On the same pictures, cropped to the face."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How many prediction sets contain the true class; the numbers are None without pictures."""

    images: int
    share: float | None
    low: float | None
    """End of the exact 95 % interval, which takes pictures of one person for independent; as `high`."""
    high: float | None


@dataclass(frozen=True, kw_only=True)
class SetScores:
    """Prediction sets of the test split."""

    coverage: float
    """Nominal."""
    threshold: float
    measured: Coverage
    mean_size: float | None
    """Mean number of classes in a set."""
    classes: Mapping[str, Coverage]
    """By true class: the nominal coverage holds for all classes together, not for each."""


@dataclass(frozen=True, kw_only=True)
class NoveltyScores:
    """How well a model's novelty tells test pictures from pictures without a face."""

    non_faces: str
    """Name of the set of pictures without a face, see `pipelines.evaluate.non_faces`."""
    auroc: float | None
    """Chance that a picture without a face is more novel than a test picture; ties count half."""
    kinds: Mapping[str, float | None]
    """The same for each kind of picture without a face."""
    faces: int
    """Number of test pictures."""
    others: int
    """Number of pictures without a face."""
    threshold: float
    """Of the contract: above it a picture counts as unlike the training's."""
    unfamiliar_faces: float | None
    """Share of test pictures above the threshold: false alarms."""
    unfamiliar_others: float | None
    """Share of pictures without a face above the threshold."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Every metric of one variant."""

    test: TestScores
    val: BasicScores
    classes: Mapping[str, ClassScores]
    """Of the test split, by class."""
    slices: Mapping[str, Mapping[str, BasicScores]]
    """Of the test split, by kind of slice (`brightness`) and slice (`low`)."""
    attributes: Annotated[Mapping[str, AttributeScores] | None, OPTIONAL] = None
    """Of the test split, by the columns of `data/attributes.csv`; None without that file."""


@dataclass(frozen=True, kw_only=True)
class Evaluation(Scores):
    """One variant and its metrics: `evaluations/VARIANT/metrics.json`."""

    architecture: str
    """Name of the variant."""
    title: str
    """Display name."""
    weights: str
    """Where training started: `scratch`, `imagenet`, `drawn` (faces), or `hf:CHECKPOINT`."""
    parameters: int
    size_mb: float
    """Of the ONNX file, 10⁶ bytes."""
    crops: Crops
    sets: Annotated[SetScores | None, OPTIONAL] = None
    """None if the contract has no threshold for them."""
    novelty: Annotated[NoveltyScores | None, OPTIONAL] = None
    """None if the model does not tell it."""


def read_evaluation(root: Path, name: str) -> Evaluation:
    """Read the metrics of one variant.

    Raises:
        ResultCorrupt: the file is missing or damaged.
    """
    path = root / paths.evaluation_metrics(name)
    return read_record(path, Evaluation, stage=f"evaluate@{architecture_of(name)}")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Circumstances under which models were timed."""

    machine: Machine
    measured_at: str
    """UTC, ISO 8601, to the second."""
    calibration_ms: float
    """Median time of a fixed computation, see `pipelines.evaluate.latency.Calibration`."""

    @property
    def day(self) -> str:
        """Of measuring, UTC, as in 2026-11-29."""
        return self.measured_at[:10]

    def __str__(self) -> str:
        """Return a description in one line."""
        return f"{self.machine}, on {self.day}, calibration {self.calibration_ms:.2f} ms"


@dataclass(frozen=True, kw_only=True)
class CallTimes:
    """Times of one call with a batch of a certain size."""

    p50_ms: float
    """Of the whole batch, as `p95_ms`."""
    p95_ms: float
    speed_up: Annotated[float | None, OPTIONAL] = None
    """How many times as fast as the float32 model; None for a float32 model."""


@dataclass(frozen=True, kw_only=True)
class VariantTimes:
    """Times of one variant, by batch size."""

    batch_1: CallTimes
    batch_16: CallTimes


@dataclass(frozen=True, kw_only=True)
class Latencies:
    """Times of all variants: `reports/latency.json`."""

    timing: Timing
    threads: int
    rounds: int
    models: Mapping[str, VariantTimes]
    """By name of the variant."""


def read_latencies(root: Path) -> Latencies:
    """Read the times of all variants.

    Raises:
        ResultCorrupt: the file is missing or damaged.
    """
    return read_record(root / paths.LATENCY, Latencies, stage="latency")


@dataclass(frozen=True, kw_only=True)
class Losses:
    """What an int8 variant loses compared with the float32 model; None for a float32 model."""

    accuracy_drop: float | None = None
    """Negative if it gains, as `class_drop`."""
    class_drop: float | None = None
    """Largest drop in the recall of a class; None if no class has test pictures."""
    class_dropped: str | None = None
    """Name of this class."""


@dataclass(frozen=True, kw_only=True)
class ComparisonRow(Losses, ComparedScores):
    """One variant in the comparison."""

    architecture: str
    """Name of the variant, see `Evaluation` for this and the next ones."""
    title: str
    weights: str
    size_mb: float
    parameters: int
    p50_ms: float
    """At batch 1, as `p95_ms`."""
    p95_ms: float
    batch_16_p50_ms: float
    twin: str | None
    """Name of the float32 model; None if this is one."""
    speed_up: float | None
    """At batch 1; None for a float32 model."""
    reason: str | None
    """Why the variant cannot be selected; None if it can."""
    eligible: bool


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All variants and the selected one: `reports/comparison.json`."""

    metric: str
    """Name of the metric that selects."""
    variants: Literal["float", "fastest"]
    """Whether int8 variants may be selected."""
    timing: Timing
    selected: str
    """Name of the selected variant."""
    rows: tuple[ComparisonRow, ...]
    """Best first."""


def read_comparison(root: Path) -> Comparison:
    """Read the comparison.

    Raises:
        ResultCorrupt: the file is missing or damaged.
    """
    return read_record(root / paths.COMPARISON, Comparison, stage="compare")
