"""MLflow runs of the compared models: each architecture's training run, completed with its test metrics.

Training tags its run with the sha256 of the weights, by which this module finds the run. If the run is
missing (deleted registry, results restored from a DVC remote), a run is made from the results. An int8
variant comes from the same weights; its metrics are logged to the same run, under `int8/`.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.core import paths
from pipelines.core.io import sha256_of
from pipelines.core.lineage import Lineage
from pipelines.core.model_results import Export, TrainingRecord, read_export, read_training_record
from pipelines.core.records import as_json
from pipelines.core.results import Evaluation, VariantTimes, read_evaluation
from pipelines.core.variants import architecture_of, is_int8
from pipelines.tracking import runs as tracking
from pipelines.train.runlog import WEIGHTS_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

RESULTS_TAG = "mien.results_sha256"
"""Tag of a run: digest of the results that were logged to it after training."""
RESTORED_TAG = "restored"
"""Tag, `true` on a run or version made from results whose training run is missing."""

_HISTORY = ("learning_rate", "loss", "accuracy", "val_loss", "val_accuracy", "val_macro_f1")
_RESULTS_FOLDER = "evaluation"
_INT8 = "int8/"
"""Prefix of metrics and folders of an int8 variant in the run of its float32 model."""
_BATCH = 500
# Characters that MLflow allows in metric names (mlflow/utils/validation.py), except the escaping colon.
_METRIC_CHARACTER = re.compile(r"[\w.\- ]")
# MLflow allows 250 characters for the complete name, such as `int8/class/…/precision`.
_LONGEST_PART = 180


@dataclass(frozen=True, kw_only=True)
class VariantResults:
    """Results of the earlier stages for one variant."""

    architecture: str
    """Name of the variant."""
    training: TrainingRecord
    export: Export
    metrics: Evaluation
    latency: VariantTimes
    digest: str
    """Hash of all results."""


@dataclass(frozen=True, kw_only=True)
class RunRef:
    """Reference to a run; `restored` if it was made from results."""

    run_id: str
    restored: bool
    tags: Mapping[str, str]


def read_results(root: Path, name: str, latency: VariantTimes) -> VariantResults:
    """Read one variant's results.

    Raises:
        ResultCorrupt: a result is missing or damaged.
    """
    architecture = architecture_of(name)
    training, export = root / paths.training_record(architecture), root / paths.export_record(name)
    files = (training, export, root / paths.evaluation_metrics(name))
    return VariantResults(
        architecture=name,
        training=read_training_record(training),
        export=read_export(root, name),
        metrics=read_evaluation(root, name),
        latency=latency,
        digest=_digest([path.read_bytes() for path in files], latency),
    )


def _digest(files: Iterable[bytes], latency: VariantTimes) -> str:
    """Hash all logged values; latencies that were measured again are logged again."""
    times = json.dumps(as_json(latency), sort_keys=True)
    return hashlib.sha256(b"".join((*files, times.encode()))).hexdigest()


def complete_run(
    root: Path, results: VariantResults, lineage: Lineage, *, uri: str, experiment_id: str
) -> RunRef:
    """Find the run that trained this model, or make one, and log the test metrics if they are missing."""
    weights = sha256_of(root / paths.trained_weights(architecture_of(results.architecture)))
    run = tracking.retrying(uri, lambda: _find(experiment_id, weights))
    if run is None:
        run = tracking.retrying(
            uri, lambda: _restore(root, results, lineage, experiment_id=experiment_id, weights=weights)
        )
    if run.data.tags.get(_results_tag(results)) != results.digest:
        tracking.retrying(uri, lambda: _log_results(run.info.run_id, root, results))
    tags = dict(run.data.tags)
    return RunRef(run_id=run.info.run_id, restored=tags.get(RESTORED_TAG) == "true", tags=tags)


def metric_part(text: str) -> str:
    """Convert any text to a part of a metric's name; different texts give different parts.

    MLflow allows letters, digits and some punctuation. Every other character becomes its code point between
    colons: `happy (smile)` → `happy :28:smile:29:`. A text that is too long is cut and ends with its hash.
    """
    plain = "".join(
        char if _METRIC_CHARACTER.fullmatch(char) and text.strip(".") else f":{ord(char):x}:" for char in text
    )
    if len(plain) <= _LONGEST_PART:
        return plain
    # No code point has 16 digits, so the hash cannot be confused with an escaped character.
    end = f":{hashlib.sha256(text.encode()).hexdigest()[:16]}:"
    return plain[: _LONGEST_PART - len(end)] + end


def numbers(record: Mapping[str, object], prefix: str) -> Iterator[tuple[str, float]]:
    """Yield every number in nested mappings with a slash-separated name, such as `test/accuracy`."""
    for key, value in record.items():
        name = f"{prefix}/{metric_part(key)}" if prefix else metric_part(key)
        if isinstance(value, Mapping):
            yield from numbers(value, name)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)


def _client() -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient()


def _find(experiment_id: str, weights: str) -> Run | None:
    found = _client().search_runs(
        [experiment_id],
        f"tags.`{WEIGHTS_TAG}` = '{weights}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    return found[0] if found else None


def _restore(
    root: Path, results: VariantResults, lineage: Lineage, *, experiment_id: str, weights: str
) -> Run:
    """Make a run from the remaining results: parameters, curves, files. Its duration is unknown."""
    from mlflow.entities import Param

    client = _client()
    training = results.training
    architecture = architecture_of(results.architecture)
    tags = {
        **lineage.tags(),
        "architecture": architecture,
        "manifest": training.dataset,
        "weights": training.weights,
        RESTORED_TAG: "true",
    }
    run = client.create_run(experiment_id, run_name=f"{architecture} (restored)", tags=tags)
    run_id = run.info.run_id
    scalars = {key: value for key, value in as_json(training).items() if isinstance(value, str | int | float)}
    client.log_batch(run_id, params=[Param(key, str(value)) for key, value in scalars.items()])
    history = list(_history(root / paths.training_history(architecture)))
    for start in range(0, len(history), _BATCH):
        client.log_batch(run_id, metrics=history[start : start + _BATCH])
    client.log_artifact(run_id, str(root / paths.training_record(architecture)))
    client.set_terminated(run_id, "FINISHED")
    # Last, so that an interrupted run is not found as a complete one.
    client.set_tag(run_id, WEIGHTS_TAG, weights)
    return client.get_run(run_id)


def _log_results(run_id: str, root: Path, results: VariantResults) -> None:
    from mlflow.entities import Metric

    client = _client()
    now_ms = int(time.time() * 1000)
    figures = {
        name: value
        for prefix, record in (
            ("test", results.metrics.test),
            ("val", results.metrics.val),
            *((f"class/{metric_part(name)}", scores) for name, scores in results.metrics.classes.items()),
            ("latency", results.latency),
        )
        for name, value in numbers(as_json(record), prefix)
    }
    figures["size_mb"] = results.export.size_bytes / 1e6
    prefix = _INT8 if is_int8(results.architecture) else ""
    client.log_batch(
        run_id, metrics=[Metric(f"{prefix}{key}", value, now_ms, 0) for key, value in figures.items()]
    )
    folder = root / paths.evaluation_metrics(results.architecture).parent
    client.log_artifacts(run_id, str(folder), f"{prefix}{_RESULTS_FOLDER}")
    if not is_int8(results.architecture):
        client.set_tag(run_id, "title", results.metrics.title)
    client.set_tag(run_id, _results_tag(results), results.digest)


def _results_tag(results: VariantResults) -> str:
    return f"{RESULTS_TAG}.int8" if is_int8(results.architecture) else RESULTS_TAG


def _history(path: Path) -> Iterator[Metric]:
    from mlflow.entities import Metric

    if not path.exists():
        return
    now_ms = int(time.time() * 1000)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for key in _HISTORY:
                if row.get(key):
                    yield Metric(key, float(row[key]), now_ms, int(row["epoch"]))
