"""`python -m pipelines.train ARCHITECTURE`: train one network on the prepared pictures.

On two cores, with the sample dataset and its settings: 1–3 minutes for each network. Killed at any time and started
again it goes on after the last finished epoch.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipelines import layout
from pipelines.classifier import Classifier, build_classifier
from pipelines.dataset import Dataset, read_dataset
from pipelines.files import sha256_of, write_json
from pipelines.params import ModelParams, Params, check_architecture, load_params
from pipelines.pretrained import completed, load_pretrained, read_origin
from pipelines.stage import run_stage
from pipelines.training import loop
from pipelines.training.checkpoint import Checkpoint, CheckpointCorrupt, CheckpointFile, checkpoint_key
from pipelines.training.input import read_split
from pipelines.training.outputs import write_history, write_weights
from pipelines.training.plan import plan_phases

_CODE = Path(__file__).parent


def main() -> None:
    """Parse the command and train."""
    parser = argparse.ArgumentParser(description="Train one network on the prepared pictures.")
    parser.add_argument("architecture")
    name = check_architecture(parser.parse_args().architecture)
    train_architecture(name, load_params())


def train_architecture(name: str, params: Params) -> None:
    """Train one architecture from and to the places of `pipelines.layout`.

    Raises:
        PipelineError: an input is missing or bad, training fails, or an output cannot be written.
    """
    dataset = read_dataset(layout.DATASET)
    origin = read_origin(name, layout.weights_folder(name))
    model = completed(name, params.model(name), layout.weights_folder(name))
    file = CheckpointFile(layout.CHECKPOINTS / name, _key(name, params, dataset=dataset, origin=origin))
    file.remove_others()
    state = _resumed(name, file)
    strategy = _set_up(params)
    with strategy.scope():
        classifier = _build(name, params, model, dataset=dataset)
        load_pretrained(classifier, layout.weights_folder(name))
    data = _data(params, dataset, cache=file.folder)
    trained = loop.train(
        classifier,
        data,
        settings=loop.Settings(
            phases=plan_phases(model, origin=origin["origin"]),
            training=params.training,
            augmentation=params.augmentation,
            seed=params.seed,
        ),
        strategy=strategy,
        listener=_Saver(file),
        state=state,
    )
    write_weights(classifier.model, layout.trained_weights(name))
    write_history(trained.history, layout.training_history(name))
    record = _record(classifier, trained, params=params, model=model, dataset=dataset, origin=origin)
    write_json(layout.training_record(name), record)
    file.remove()


class _Saver:
    """Saves the checkpoint after every epoch."""

    def __init__(self, file: CheckpointFile) -> None:
        self._file = file

    def after_epoch(self, state: Checkpoint, *, images_per_second: float) -> None:
        self._file.save(state)


def _resumed(name: str, file: CheckpointFile) -> Checkpoint | None:
    try:
        state = file.load()
    except CheckpointCorrupt as error:
        print(f"{name}  checkpoint unreadable ({error}), starting anew", flush=True)
        return None
    if state is not None:
        print(f"{name}  resuming after epoch {len(state.history)}", flush=True)
    return state


def _set_up(params: Params) -> Any:
    """Seeds, precision and devices; returns the `tf.distribute` strategy."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(params.seed)
    keras.config.set_dtype_policy(params.training.precision)
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def _build(name: str, params: Params, model: ModelParams, *, dataset: Dataset) -> Classifier:
    return build_classifier(
        name,
        model,
        head=params.head,
        height=dataset.input.height,
        width=dataset.input.width,
        classes=len(dataset.classes),
    )


def _data(params: Params, dataset: Dataset, *, cache: Path) -> loop.Data:
    splits = {
        split: read_split(
            layout.PREPARED_IMAGES / split,
            dataset.input,
            classes=dataset.classes,
            cache_mib=params.training.cache_mib,
            cache=cache / f"{split}.npy",
        )
        for split in ("train", "val")
    }
    return loop.Data(train=splits["train"], val=splits["val"], classes=len(dataset.classes))


def _key(name: str, params: Params, *, dataset: Dataset, origin: dict[str, Any]) -> str:
    """Hash of all that decides the outcome."""
    sources = [
        _CODE / "train.py",
        _CODE / "classifier.py",
        _CODE / "pretrained.py",
        *(_CODE / "training").glob("*.py"),
        *(_CODE / "architectures").glob("_*.py"),
        _CODE / "architectures" / f"{name}.py",
    ]
    inputs = {
        "dataset": dataset.dataset,
        "input": asdict(dataset.input),
        "seed": params.seed,
        "origin": origin,
        "weights": _weights_hash(layout.weights_folder(name), origin),
        **params.model_dump(include={"training", "augmentation", "head"}),
        "model": params.model(name).model_dump(),
    }
    return checkpoint_key(inputs, sources)


def _weights_hash(folder: Path, origin: dict[str, Any]) -> str | None:
    if origin["file"] is None:
        return None
    path = folder / origin["file"]
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return " ".join(sha256_of(file) for file in files if file.is_file())


def _record(
    classifier: Classifier,
    trained: loop.Trained,
    *,
    params: Params,
    model: ModelParams,
    dataset: Dataset,
    origin: dict[str, Any],
) -> dict[str, Any]:
    best = trained.stopping.best
    assert best is not None
    return {
        "architecture": classifier.architecture.name,
        "classes": list(dataset.classes),
        "input": asdict(dataset.input),
        "dataset": dataset.dataset,
        "head": params.head.model_dump(mode="json"),
        "options": model.options,
        "weights": origin["origin"],
        "weights_reason": origin["reason"],
        "parameters": int(classifier.model.count_params()),
        "epochs_run": len(trained.history),
        "best_epoch": trained.stopping.best_epoch,
        "best": {
            "val_loss": round(best.loss, 6),
            "val_accuracy": round(best.accuracy, 6),
            "val_macro_f1": round(best.macro_f1, 6),
        },
        "phases": _phases(trained),
        "precision": params.training.precision,
    }


def _phases(trained: loop.Trained) -> list[dict[str, Any]]:
    names = [row["phase"] for row in trained.history]
    return [{"name": name, "epochs": names.count(name)} for name in dict.fromkeys(names)]


if __name__ == "__main__":
    run_stage(main)
