"""Paths of all files of the pipeline, relative to the repository root.

`dvc.yaml` names the same paths; a test compares the two.
"""

from __future__ import annotations

from pathlib import Path

PARAMS = Path("params.yaml")
DATA = Path("data")
RELABEL = DATA / "relabel.csv"
"""Labels that a person corrected, see `pipelines.prepare.relabel`."""
ATTRIBUTES = DATA / "attributes.csv"
"""Attributes of people or pictures that the user brings, see `pipelines.core.attributes`."""

PREPARED = Path("prepared")
PREPARED_IMAGES = PREPARED / "images"
MANIFEST = PREPARED / "manifest.parquet"
DATASET = PREPARED / "dataset.json"
"""Classes, input spec and the manifest's hash: what `train` needs from `prepare`."""

REPORTS = Path("reports")
PREPARE_REPORT = REPORTS / "prepare.json"
VALIDATION_REPORT = REPORTS / "validation.json"
DATA_DOCS = REPORTS / "data_docs"
MACHINE = REPORTS / "machine.json"
LATENCY = REPORTS / "latency.json"
COMPARISON = REPORTS / "comparison.json"
ROBUSTNESS = REPORTS / "robustness.json"
EXPLANATIONS = REPORTS / "explain"
LABELS = REPORTS / "labels"
"""Probable label errors, written by `python -m pipelines.labels`; not an output of a stage."""
GATE = REPORTS / "gate.json"
REGISTERED = REPORTS / "registered.json"
"""The verdict that `register` published; it belongs to one registry, so it is not in git."""
REPORT = REPORTS / "report.html"

VALIDATED = Path("validation") / "passed.json"
"""Holds the manifest's hash only: a changed threshold that still passes retrains nothing."""

WEIGHTS = Path("weights")
FACE_MODEL = WEIGHTS / "face_model"
"""`origin.json`, and YuNet's file where it was found."""
MODELS = Path("models")
ONNX = Path("onnx")
EVALUATIONS = Path("evaluations")

CHECKPOINTS = Path(".checkpoints")
"""Training state for resuming; never an output of a stage."""

MLRUNS = Path("mlruns")
MLFLOW_DATABASE = MLRUNS / "mlflow.db"
MLFLOW_ARTIFACTS = MLRUNS / "artifacts"
TUNING = Path(".mien") / "tuning.db"
"""Trials of `python -m pipelines.tune`, SQLite."""


def weights_folder(architecture: str) -> Path:
    """`origin.json`, and the weights file or checkpoint folder where there is one."""
    return WEIGHTS / architecture


def trained_weights(architecture: str) -> Path:
    """The trained network, Keras' `.weights.h5`."""
    return MODELS / architecture / "model.weights.h5"


def training_record(architecture: str) -> Path:
    """What the network is and how its training went, JSON."""
    return MODELS / architecture / "training.json"


def training_history(architecture: str) -> Path:
    """One row per epoch, CSV: for `dvc plots`."""
    return MODELS / architecture / "history.csv"


def onnx_model(architecture: str) -> Path:
    """The exported graph with its contract inside."""
    return ONNX / architecture / "model.onnx"


def export_record(architecture: str) -> Path:
    """Temperature, parity with Keras, sizes, JSON."""
    return ONNX / architecture / "export.json"


def evaluation_metrics(architecture: str) -> Path:
    """Every metric of one model, JSON, kept in git."""
    return EVALUATIONS / architecture / "metrics.json"


def evaluation_summary(architecture: str) -> Path:
    """The dozen of them that `dvc metrics` shows, JSON, kept in git."""
    return EVALUATIONS / architecture / "summary.json"


def evaluation_predictions(architecture: str) -> Path:
    """path, split, label, predicted and one probability column per class, for val and test."""
    return EVALUATIONS / architecture / "predictions.parquet"


def evaluation_plot(architecture: str, plot: str) -> Path:
    """Points of one plot, CSV: `confusion`, `roc`, `calibration`."""
    return EVALUATIONS / architecture / f"{plot}.csv"
