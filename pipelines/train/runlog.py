"""The MLflow run of a training: parameters, metrics of each epoch and files.

MLflow must answer before training starts. If it fails later, training continues, and the metrics are
kept and sent at the end.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from pipelines.core.errors import RegistryError
from pipelines.tracking.runs import configure, connect, retrying
from pipelines.train.checkpoint import Epoch

WEIGHTS_TAG = "mien.weights_sha256"
"""On the run: SHA-256 of the `model.weights.h5` it wrote, by which `register` finds it."""
_METRICS = ("learning_rate", "loss", "accuracy", "val_loss", "val_accuracy", "val_macro_f1")
_BYTES_PER_MB = 1_000_000
# MLflow takes at most this many metrics in one call.
_LARGEST_BATCH = 1000


class RunLog:
    """One MLflow run that outlives a killed process."""

    def __init__(
        self,
        experiment: str,
        *,
        name: str,
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
        run_id: str | None = None,
    ) -> None:
        """Start a run, or continue one.

        Args:
            experiment: name of the MLflow experiment.
            name: of the run.
            parameters: nested; logged under dotted names.
            tags: of the run.
            run_id: of the run to continue, if it still exists.

        Raises:
            RegistryError: MLflow cannot be reached.
        """
        experiment_id = configure(experiment)
        self._uri = connect()
        import mlflow

        self._client = mlflow.MlflowClient()
        self._pending: list[tuple[str, float, int, int]] = []
        self._trouble: RegistryError | None = None
        self.run_id: str = retrying(self._uri, lambda: self._open(experiment_id, name, run_id))
        """MLflow's name for the run."""
        retrying(self._uri, lambda: self._describe(parameters, tags))
        psutil.cpu_percent()  # the next call returns the mean since this one

    def catch_up(self, history: Sequence[Epoch]) -> None:
        """Log a resumed run's earlier epochs that MLflow does not have."""
        logged = retrying(self._uri, lambda: self._client.get_metric_history(self.run_id, "val_loss"))
        known = {metric.step for metric in logged}
        for row in history:
            if row.epoch not in known:
                self._add(_figures(row), step=row.epoch)
        self._flush()

    def epoch(self, row: Epoch, *, images_per_second: float) -> None:
        """Log one epoch; never fails."""
        memory = psutil.Process().memory_info().rss / _BYTES_PER_MB
        figures = _figures(row) | {
            "images_per_second": images_per_second,
            # MLflow's page of system metrics shows what begins with `system/`.
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/process_memory_megabytes": memory,
        }
        self._add(figures, step=row.epoch)
        if self._trouble is None:
            self._flush()
            if self._trouble is not None:
                print(f"warning: {self._trouble}; training goes on without it", file=sys.stderr, flush=True)

    def finish(self, files: Sequence[Path], tags: Mapping[str, str]) -> None:
        """Send the remaining metrics, attach files, close the run; on failure only print what is missing."""
        self._trouble = None
        self._flush()
        self._attempt(lambda: self._conclude(files, tags))
        if self._trouble is not None:
            print(
                f"warning: the MLflow run {self.run_id} is incomplete ({self._trouble}); "
                "the trained model itself is not affected",
                file=sys.stderr,
            )

    def abort(self, status: str, reason: str) -> None:
        """Close the run of a training that failed or was interrupted; never fails."""
        self._attempt(lambda: self._client.set_tag(self.run_id, "failure", reason))
        self._attempt(lambda: self._client.set_terminated(self.run_id, status))

    def _open(self, experiment_id: str, name: str, run_id: str | None) -> str:
        if run_id is not None and self._is_there(run_id):
            self._client.update_run(run_id, status="RUNNING")
            return run_id
        return str(self._client.create_run(experiment_id, run_name=name).info.run_id)

    def _is_there(self, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return bool(self._client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False

    def _describe(self, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        from mlflow.entities import Param, RunTag

        params = [Param(key, str(value)) for key, value in _flat(parameters).items()]
        self._client.log_batch(
            self.run_id, params=params, tags=[RunTag(key, value) for key, value in tags.items()]
        )

    def _conclude(self, files: Sequence[Path], tags: Mapping[str, str]) -> None:
        for file in files:
            self._client.log_artifact(self.run_id, str(file))
        for key, value in tags.items():
            self._client.set_tag(self.run_id, key, value)
        self._client.set_terminated(self.run_id, "FINISHED")

    def _add(self, figures: Mapping[str, float], *, step: int) -> None:
        now_ms = int(time.time() * 1000)
        self._pending += [(key, float(value), now_ms, step) for key, value in figures.items()]

    def _flush(self) -> None:
        from mlflow.entities import Metric

        while self._pending and self._trouble is None:
            batch = [Metric(*figures) for figures in self._pending[:_LARGEST_BATCH]]
            if self._attempt(lambda batch=batch: self._client.log_batch(self.run_id, metrics=batch)):
                del self._pending[:_LARGEST_BATCH]

    def _attempt(self, operation: Any) -> bool:
        try:
            retrying(self._uri, operation)
        except RegistryError as error:
            self._trouble = error
            return False
        return True


def _figures(row: Epoch) -> dict[str, float]:
    return {key: getattr(row, key) for key in _METRICS}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def draw_curves(history: Sequence[Epoch], *, title: str, best_epoch: int, path: Path) -> None:
    """Draw training and validation curves into a PNG of 1000×400 px."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), dpi=100, layout="constrained")
    figure.suptitle(title)
    epochs = [row.epoch for row in history]
    panels = (
        ("cross-entropy, nats", {"loss": "training", "val_loss": "validation"}),
        ("share", {"accuracy": "training accuracy", "val_accuracy": "accuracy", "val_macro_f1": "macro-F1"}),
    )
    for axes, (label, curves) in zip(figure.subplots(1, 2), panels, strict=True):
        for key, name in curves.items():
            axes.plot(epochs, [getattr(row, key) for row in history], marker=".", label=name)
        axes.axvline(best_epoch, color="0.6", linestyle=":", label="best epoch")
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, format="png")
