"""Read all results that the report shows from the outputs of the other stages; None for missing ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import yaml

from pipelines.core import paths
from pipelines.core.data_results import PrepareReport, ValidationReport
from pipelines.core.dataset import Dataset
from pipelines.core.errors import ResultCorrupt
from pipelines.core.io import read_predictions
from pipelines.core.lineage import Lineage, read_lineage
from pipelines.core.manifest import read_manifest
from pipelines.core.model_results import Export, Origin, TrainingRecord
from pipelines.core.params import Params, load_params
from pipelines.core.records import read_record
from pipelines.core.results import Comparison, Evaluation
from pipelines.core.variants import architecture_of, int8_of, is_int8
from pipelines.explain.selection import Explanation
from pipelines.gate.record import GateVerdict
from pipelines.report.freshness import earlier_stages
from pipelines.robustness.record import Robustness

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ModelInputs:
    """Results of one variant of an architecture; None for each result that does not exist."""

    name: str
    origin: Origin | None
    training: TrainingRecord | None
    history: pd.DataFrame | None
    export: Export | None
    metrics: Evaluation | None
    predictions: pd.DataFrame | None
    """Of the test split."""
    roc: pd.DataFrame | None
    calibration: pd.DataFrame | None

    @property
    def title(self) -> str:
        """Display name; the identifier if the model has not been evaluated."""
        return self.name if self.metrics is None else self.metrics.title

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the model's outputs; empty if the model has not been evaluated."""
        columns = () if self.predictions is None else self.predictions.columns
        return tuple(name.removeprefix("p_") for name in columns if name.startswith("p_"))


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All results of the pipeline; None for each result that does not exist."""

    root: Path
    """The repository root; picture paths are relative to it."""
    params: Params
    settings: Mapping[str, object]
    """The parameters as plain values, in the order of the file."""
    lineage: Lineage
    dataset: Dataset | None
    manifest: pd.DataFrame | None
    prepared: PrepareReport | None
    validation: ValidationReport | None
    comparison: Comparison | None
    robustness: Robustness | None
    explanation: Explanation | None
    gate: GateVerdict | None
    earlier: Sequence[str]
    """Stages whose results come from an earlier run: their parameters or inputs have changed since."""
    models: Sequence[ModelInputs]
    """The float32 model of every architecture in `params.architectures`, in that order."""
    quantized: Sequence[ModelInputs]
    """The int8 variants, in the same order."""

    @property
    def selected(self) -> ModelInputs | None:
        """The model that `compare` selected; None before that."""
        if self.comparison is None:
            return None
        name = self.comparison.selected
        return next((model for model in (*self.models, *self.quantized) if model.name == name), None)

    @property
    def compared(self) -> Sequence[ModelInputs]:
        """One model for each architecture: the selected variant, and the float32 model of all others."""
        selected = self.selected
        if selected is None:
            return self.models
        return [selected if model.name == architecture_of(selected.name) else model for model in self.models]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the selected model's outputs, otherwise in the order of `prepare`."""
        if self.selected is not None and self.selected.classes:
            return self.selected.classes
        return () if self.dataset is None else self.dataset.classes


def read_inputs(root: Path) -> Inputs:
    """Read all results below `root`.

    Raises:
        ParamsError: `params.yaml` is missing or invalid.
        PipelineError: a result exists but is damaged.
    """
    params = load_params(root / paths.PARAMS)
    manifest = root / paths.MANIFEST
    explanation = paths.EXPLANATIONS / "explain.json"
    return Inputs(
        root=root,
        params=params,
        settings=yaml.safe_load((root / paths.PARAMS).read_text(encoding="utf-8")),
        lineage=read_lineage(root),
        dataset=_record(root / paths.DATASET, Dataset, "prepare"),
        manifest=read_manifest(manifest) if manifest.exists() else None,
        prepared=_record(root / paths.PREPARE_REPORT, PrepareReport, "prepare"),
        validation=_record(root / paths.VALIDATION_REPORT, ValidationReport, "validate"),
        comparison=_record(root / paths.COMPARISON, Comparison, "compare"),
        robustness=_record(root / paths.ROBUSTNESS, Robustness, "robustness"),
        explanation=_record(root / explanation, Explanation, "explain"),
        gate=_record(root / paths.GATE, GateVerdict, "gate"),
        earlier=earlier_stages(root),
        models=[_model(root, name) for name in params.architectures],
        quantized=[_model(root, int8_of(name)) for name in params.architectures],
    )


def _model(root: Path, name: str) -> ModelInputs:
    predictions = root / paths.evaluation_predictions(name)
    architecture = architecture_of(name)
    evaluate, train = f"evaluate@{architecture}", f"train@{architecture}"
    made = f"quantize@{architecture}" if is_int8(name) else f"export@{architecture}"
    table = read_predictions(predictions, stage=evaluate) if predictions.exists() else None
    return ModelInputs(
        name=name,
        origin=_record(root / paths.weights_folder(architecture) / "origin.json", Origin, "weights"),
        training=_record(root / paths.training_record(architecture), TrainingRecord, train),
        history=_table(root / paths.training_history(architecture), train, "epoch", "loss", "val_loss"),
        export=_record(root / paths.export_record(name), Export, made),
        metrics=_record(root / paths.evaluation_metrics(name), Evaluation, evaluate),
        predictions=None if table is None else table[table["split"] == "test"],
        roc=_table(root / paths.evaluation_plot(name, "roc"), evaluate, "class"),
        calibration=_table(root / paths.evaluation_plot(name, "calibration"), evaluate, "confidence"),
    )


def _record(path: Path, kind: type[T], stage: str) -> T | None:
    return read_record(path, kind, stage=stage) if path.exists() else None


def _table(path: Path, stage: str, *columns: str) -> pd.DataFrame | None:
    import pandas as pd

    if not path.exists():
        return None
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise ResultCorrupt(path=path, reason=str(error).splitlines()[0], stage=stage) from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ResultCorrupt(path=path, reason=f"no column {missing[0]!r}", stage=stage)
    return table
