"""Trains one network per fold and lets each answer the pictures of its fold; stopped at any time, it goes on.

The networks are trained as `train` trains the architecture, with the parameters of `params.yaml`; they are
not logged, exported or kept. `.checkpoints/labels/ARCHITECTURE/KEY/` has the logits of each finished fold and
the checkpoint of the fold that is being trained. KEY is the hash of everything that shapes them.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.core import paths
from pipelines.core.dataset import Dataset, read_dataset
from pipelines.core.errors import OutputError
from pipelines.core.manifest import read_manifest
from pipelines.core.params import Params
from pipelines.export.inference import fit_temperature, probabilities_of
from pipelines.export.pictures import in_batches
from pipelines.labels.folds import FoldParts, Rows, assign_folds, check_classes, fold_parts
from pipelines.train import loop
from pipelines.train.augmentation import Images
from pipelines.train.checkpoint import (
    Checkpoint,
    CheckpointCorrupt,
    CheckpointFile,
    Groups,
    checkpoint_key,
    read_state,
    run_key,
    write_state,
)
from pipelines.train.input import Split, in_order
from pipelines.train.stage import build, settings_of
from pipelines.weights.pretrained import completed, read_origin

FOLDER = paths.CHECKPOINTS / "labels"
_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class OutOfSample:
    """Every prepared picture, answered by a network that neither learned from it nor was stopped by it."""

    classes: tuple[str, ...]
    rows: pd.DataFrame
    """The manifest; the other fields have its order."""
    fold: NDArray[np.int64]
    """Of each picture, [n], from 0."""
    probabilities: NDArray[np.float64]
    """Calibrated, [n, classes]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _FoldAnswers:
    """What is kept of a finished fold."""

    logits: NDArray[np.float32]
    """Of the judged pictures, [n, classes]."""
    temperature: float


class _Saver:
    """Saves the checkpoint after every epoch."""

    def __init__(self, file: CheckpointFile) -> None:
        self._file = file

    def before_first_epoch(self, state: Checkpoint) -> None:
        """A fold that is killed in its first epoch starts again: nothing else belongs to the run."""

    def after_epoch(self, state: Checkpoint, *, images_per_second: float) -> None:
        self._file.save(state)


def answer_out_of_sample(name: str, params: Params, *, folds: int) -> OutOfSample:
    """Answer every prepared picture out of sample; folds that are finished already are read.

    Probabilities are those of the float network divided by a temperature, as the service's are: networks
    of different folds stop at different epochs and are differently sure, and confident learning compares
    each picture with the mean over all folds. The temperature is fitted to the fold's stopping pictures.

    Args:
        name: of the architecture.
        params: all parameters.
        folds: their number, at least 2.

    Raises:
        OptionError: there are fewer people than folds, or one fold has a class alone.
        PipelineError: an input is missing or bad, training fails, or a file cannot be written.
    """
    dataset = read_dataset(paths.DATASET)
    rows = read_manifest(paths.MANIFEST)
    fold_of = assign_folds(rows, folds=folds, seed=params.seed, near_bits=params.prepare.near_duplicate_bits)
    check_classes(rows, fold_of, dataset.classes)
    key = _key(name, params, dataset=dataset, fold_of=fold_of)
    CheckpointFile(FOLDER / name, key).remove_others()
    probabilities = np.empty((len(rows), len(dataset.classes)))
    for fold in range(folds):
        parts = fold_parts(rows, fold_of, fold)
        path = FOLDER / name / key / f"fold-{fold + 1}.npz"
        answers = _read_answers(path)
        if answers is None:
            print(
                f"fold {fold + 1} of {folds}: trains on {len(parts.training):,} pictures, "
                f"judges {len(parts.judged):,}",
                flush=True,
            )
            answers = _train(name, params, dataset=dataset, rows=rows, parts=parts, path=path)
        probabilities[parts.judged] = probabilities_of(answers.logits, temperature=answers.temperature)
    return OutOfSample(classes=dataset.classes, rows=rows, fold=fold_of, probabilities=probabilities)


def _key(name: str, params: Params, *, dataset: Dataset, fold_of: NDArray[np.int64]) -> str:
    weights = paths.weights_folder(name)
    training = run_key(name, params, dataset=dataset, origin=read_origin(name, weights), weights=weights)
    return checkpoint_key({"training": training, "folds": fold_of.tolist()}, [Path(__file__)])


def _train(
    name: str, params: Params, *, dataset: Dataset, rows: pd.DataFrame, parts: FoldParts, path: Path
) -> _FoldAnswers:
    """Train the network of one fold, from its checkpoint if it has one, and keep its answers in `path`."""
    file = CheckpointFile(path.parent, path.stem)
    weights = paths.weights_folder(name)
    model = completed(name, params.model(name), weights)
    strategy = loop.set_up(params.training, seed=params.seed)
    network = build(name, params, model, dataset=dataset, strategy=strategy)
    read = _Reader(rows=rows, dataset=dataset, cache_mib=params.training.cache_mib, folder=file.folder)
    val = read.split(parts.stopping, "val")
    loop.train(
        network,
        loop.Data(train=read.split(parts.training, "train"), val=val, classes=len(dataset.classes)),
        settings=settings_of(params, model, origin=read_origin(name, weights)),
        strategy=strategy,
        listener=_Saver(file),
        state=_resumed(file),
    )
    stopping = network.model.predict(in_order(val.images, batch_size=params.training.batch_size), verbose=0)
    judged = [network.model.predict_on_batch(batch) for batch in in_batches(read.files(parts.judged))]
    answers = _FoldAnswers(
        logits=np.concatenate(judged).astype(np.float32),
        temperature=fit_temperature(np.asarray(stopping, np.float32), val.labels).temperature,
    )
    write_state(path, {"temperature": answers.temperature}, {"logits": [answers.logits]})
    shutil.rmtree(file.folder, ignore_errors=True)
    return answers


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Reads prepared pictures by their row in the manifest."""

    rows: pd.DataFrame
    dataset: Dataset
    cache_mib: int
    """Pictures that take more are in files, which are mapped."""
    folder: Path
    """Of these files."""

    def files(self, chosen: Rows) -> Sequence[Path]:
        return [paths.PREPARED / path for path in self.rows["path"].to_numpy()[chosen]]

    def split(self, chosen: Rows, name: str) -> Split:
        """Pictures and labels of some rows; `name` is that of the file."""
        index = {label: number for number, label in enumerate(self.dataset.classes)}
        labels = [index[label] for label in self.rows["label"].to_numpy()[chosen]]
        spec = self.dataset.input
        images = self._room((len(chosen), spec.height, spec.width, 3), self.folder / f"{name}.npy")
        start = 0
        for batch in in_batches(self.files(chosen)):
            images[start : start + len(batch)] = batch
            start += len(batch)
        return Split(images=images, labels=np.array(labels, np.int64))

    def _room(self, shape: tuple[int, ...], path: Path) -> Images:
        if np.prod(shape) <= self.cache_mib * _MIB:
            return np.empty(shape, np.uint8)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        except OSError as error:
            raise OutputError(path=path, reason=error.strerror or str(error)) from error


def _resumed(file: CheckpointFile) -> Checkpoint | None:
    try:
        state = file.load()
    except CheckpointCorrupt as error:
        print(f"the checkpoint cannot be read ({error}), starting from the beginning", flush=True)
        return None
    if state is not None:
        print(f"resuming after epoch {len(state.history)}", flush=True)
    return state


def _read_answers(path: Path) -> _FoldAnswers | None:
    """The answers of a finished fold; None if it is not finished, or its file is damaged."""

    def restored(facts: Any, groups: Groups) -> _FoldAnswers:
        (logits,) = groups["logits"]
        return _FoldAnswers(logits=logits, temperature=float(facts["temperature"]))

    try:
        return read_state(path, restored)
    except CheckpointCorrupt as error:
        print(f"the fold is trained again, its answers cannot be read ({error})", flush=True)
        return None
