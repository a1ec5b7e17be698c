"""`python -m pipelines.train ARCHITECTURE`: train one network on the prepared pictures.

docs/benchmarks.md has the duration of each network on the sample. When it is killed at any time and started
again, it continues after the last finished epoch.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from pipelines.core import paths
from pipelines.core.dataset import Dataset, read_dataset
from pipelines.core.io import sha256_of
from pipelines.core.lineage import read_lineage
from pipelines.core.model_results import Origin
from pipelines.core.params import ModelParams, Params, check_architecture, load_params
from pipelines.core.records import write_record
from pipelines.model.keras_classifier import Classifier, build_classifier
from pipelines.train import loop
from pipelines.train.checkpoint import Checkpoint, CheckpointCorrupt, CheckpointFile, run_key
from pipelines.train.input import check_split, read_split
from pipelines.train.loop import set_up
from pipelines.train.outputs import record, write_history, write_weights
from pipelines.train.runlog import WEIGHTS_TAG, RunLog, draw_curves
from pipelines.train.schedule import plan_phases
from pipelines.weights.pretrained import completed, load_pretrained, read_origin


def main() -> None:
    """Parse the command and train."""
    parser = argparse.ArgumentParser(description="Train one network on the prepared pictures.")
    parser.add_argument("architecture")
    name = check_architecture(parser.parse_args().architecture)
    train_architecture(name, load_params())


def train_architecture(name: str, params: Params) -> None:
    """Train one architecture from and to the places of `pipelines.core.paths`.

    Raises:
        PipelineError: an input is missing or bad, MLflow does not answer, training fails, or an output
            cannot be written.
    """
    weights = paths.weights_folder(name)
    dataset = read_dataset(paths.DATASET)
    for split in ("train", "val"):
        check_split(paths.PREPARED_IMAGES / split, dataset.classes)
    origin = read_origin(name, weights)
    model = completed(name, params.model(name), weights)
    key = run_key(name, params, dataset=dataset, origin=origin, weights=weights)
    file = CheckpointFile(paths.CHECKPOINTS / name, key)
    file.remove_others()
    state = _resumed(name, file)
    log = _open_log(name, params, dataset=dataset, origin=origin, state=state)
    try:
        _train(name, params, model=model, dataset=dataset, origin=origin, file=file, state=state, log=log)
    except KeyboardInterrupt:
        log.abort("KILLED", "interrupted")
        sys.exit(f"{name}: interrupted; the same command goes on after the last finished epoch")
    except BaseException as error:
        log.abort("FAILED", str(error))
        raise
    file.remove()


def _train(
    name: str,
    params: Params,
    *,
    model: ModelParams,
    dataset: Dataset,
    origin: Origin,
    file: CheckpointFile,
    state: Checkpoint | None,
    log: RunLog,
) -> None:
    strategy = set_up(params.training, seed=params.seed)
    classifier = build(name, params, model, dataset=dataset, strategy=strategy)
    trained = loop.train(
        classifier,
        read_data(params, dataset, cache=file.folder),
        settings=settings_of(params, model, origin=origin),
        strategy=strategy,
        listener=_Listener(file, log),
        state=state,
        run_id=log.run_id,
    )
    values = record(classifier, trained, params=params, model=model, dataset=dataset, origin=origin)
    write_weights(classifier.model, paths.trained_weights(name))
    write_history(trained.history, paths.training_history(name))
    write_record(paths.training_record(name), values)
    _close_log(log, name, trained)


class _Listener:
    """After every epoch: first the checkpoint, then the log.

    There is a checkpoint before the first epoch too: a run killed in it goes on as the same MLflow run.
    """

    def __init__(self, file: CheckpointFile, log: RunLog) -> None:
        self._file = file
        self._log = log

    def before_first_epoch(self, state: Checkpoint) -> None:
        self._file.save(state)

    def after_epoch(self, state: Checkpoint, *, images_per_second: float) -> None:
        self._file.save(state)
        self._log.epoch(state.history[-1], images_per_second=images_per_second)


def _resumed(name: str, file: CheckpointFile) -> Checkpoint | None:
    try:
        state = file.load()
    except CheckpointCorrupt as error:
        print(f"{name}  the checkpoint cannot be read ({error}), starting from the beginning", flush=True)
        return None
    if state is not None and state.history:
        print(f"{name}  resuming after epoch {len(state.history)}", flush=True)
    return state


def build(name: str, params: Params, model: ModelParams, *, dataset: Dataset, strategy: Any) -> Classifier:
    """Build a network for a dataset, with its pretrained weights if it has any.

    Args:
        name: of the architecture.
        params: all parameters.
        model: the block of this architecture, see `weights.pretrained.completed`.
        dataset: what `prepare` made.
        strategy: from `loop.set_up`.
    """
    spec = dataset.input
    with strategy.scope():
        classifier = build_classifier(
            name,
            model,
            head=params.head,
            height=spec.height,
            width=spec.width,
            classes=len(dataset.classes),
        )
        load_pretrained(classifier, paths.weights_folder(name))
    return classifier


def settings_of(params: Params, model: ModelParams, *, origin: Origin) -> loop.Settings:
    """How parameters train a network that starts from `origin`."""
    return loop.Settings(
        phases=plan_phases(model, origin=origin.origin),
        training=params.training,
        augmentation=params.augmentation,
        seed=params.seed,
    )


def read_data(params: Params, dataset: Dataset, *, cache: Path) -> loop.Data:
    """Read the prepared pictures of `train` and `val`; those that do not fit into memory go into `cache`."""
    train, val = (
        read_split(
            paths.PREPARED_IMAGES / split,
            dataset.input,
            classes=dataset.classes,
            cache_mib=params.training.cache_mib,
            cache=cache / f"{split}.npy",
        )
        for split in ("train", "val")
    )
    return loop.Data(train=train, val=val, classes=len(dataset.classes))


def _open_log(
    name: str,
    params: Params,
    *,
    dataset: Dataset,
    origin: Origin,
    state: Checkpoint | None,
) -> RunLog:
    log = RunLog(
        params.register_.experiment,
        name=name,
        parameters={
            "seed": params.seed,
            **params.model_dump(mode="json", include={"training", "augmentation", "head"}),
            "model": params.model(name).model_dump(mode="json"),
        },
        tags={
            **read_lineage(Path.cwd()).tags(),
            "architecture": name,
            "manifest": dataset.dataset,
            "weights": origin.origin,
            "weights_reason": origin.reason,
        },
        run_id=state.run_id if state else None,
    )
    if state is not None:
        log.catch_up(state.history)
    return log


def _close_log(log: RunLog, name: str, trained: loop.Trained) -> None:
    with tempfile.TemporaryDirectory() as folder:
        curves = Path(folder) / "curves.png"
        draw_curves(trained.history, title=name, best_epoch=trained.best_epoch, path=curves)
        log.finish(
            [curves, paths.training_history(name), paths.training_record(name)],
            {WEIGHTS_TAG: sha256_of(paths.trained_weights(name))},
        )
