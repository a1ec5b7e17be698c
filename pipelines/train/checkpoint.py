"""The state of a training, in one file that is replaced after every epoch, so that a killed run can continue.

The file is in `.checkpoints/ARCHITECTURE/KEY/`, outside of DVC's outputs. KEY is the hash of all declared
inputs of the stage, so that a checkpoint is never used with other data, parameters or code.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipelines.core.dataset import Dataset
from pipelines.core.errors import TrainingFailed
from pipelines.core.io import replacing, sha256_of
from pipelines.core.model_results import Origin
from pipelines.core.params import Params
from pipelines.train.metrics import Validation
from pipelines.train.schedule import Stopping

T = TypeVar("T")
Arrays = Sequence[NDArray[Any]]
Groups = Mapping[str, Arrays]
"""Arrays by what they belong to: `model`, `optimizer`, …"""
_KEY_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Metrics of a finished epoch; the fields are the columns of `history.csv`."""

    epoch: int
    """From 1."""
    phase: str
    learning_rate: float
    """At the end of the epoch."""
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state after a finished epoch."""

    phase: int
    """Index of the phase that epoch belonged to."""
    phase_epochs: int
    """Epochs of that phase that are finished."""
    history: tuple[Epoch, ...]
    """All finished epochs."""
    stopping: Stopping
    run_id: str | None
    """Of the MLflow run; None when nothing is logged."""
    model: Arrays
    """All variables, those of random number generators included."""
    optimizer: Arrays
    """All variables of the optimizer, its step counter (hence its place in the schedule) included."""
    best: Arrays
    """The model's variables after the best epoch."""


def checkpoint_key(inputs: Mapping[str, object], sources: Iterable[Path]) -> str:
    """Hash of JSON-like inputs and of the content of source files."""
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode())
    for path in sorted(sources):
        digest.update(f"\0{path.name}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:_KEY_DIGITS]


class CheckpointFile:
    """The checkpoint file of one run."""

    def __init__(self, root: Path, key: str) -> None:
        """Name the file; nothing is created.

        Args:
            root: `.checkpoints/ARCHITECTURE`.
            key: see `checkpoint_key`.
        """
        self._root = root
        self.folder = root / key
        self.path = self.folder / "checkpoint.npz"

    def save(self, state: Checkpoint) -> None:
        """Replace the checkpoint.

        Raises:
            OutputError: it cannot be written; the previous one is kept.
        """
        # The best epoch is often this one: its arrays are then the model's own and are written once.
        shared = state.best is state.model
        groups = {"model": state.model, "optimizer": state.optimizer, "best": [] if shared else state.best}
        facts = {
            "phase": state.phase,
            "phase_epochs": state.phase_epochs,
            "history": [asdict(epoch) for epoch in state.history],
            "stopping": asdict(state.stopping),
            "run_id": state.run_id,
            "best_is_model": shared,
        }
        write_state(self.path, facts, groups)

    def load(self) -> Checkpoint | None:
        """The last checkpoint, or None if there is none.

        Raises:
            CheckpointCorrupt: there is one that cannot be read.
        """
        return read_state(self.path, _restored)

    def remove_others(self) -> None:
        """Remove checkpoints of runs with other inputs."""
        if self._root.is_dir():
            for folder in self._root.iterdir():
                if folder != self.folder:
                    shutil.rmtree(folder, ignore_errors=True)

    def remove(self) -> None:
        """Remove all checkpoints of this architecture, once its outputs are written."""
        shutil.rmtree(self._root, ignore_errors=True)


class CheckpointCorrupt(Exception):
    """A checkpoint cannot be read; training starts from the beginning."""

    def __init__(self, *, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


def _restored(facts: Any, groups: Groups) -> Checkpoint:
    model = groups["model"]
    best = facts["stopping"].pop("best")
    return Checkpoint(
        phase=facts["phase"],
        phase_epochs=facts["phase_epochs"],
        history=tuple(Epoch(**epoch) for epoch in facts["history"]),
        stopping=Stopping(best=None if best is None else Validation(**best), **facts["stopping"]),
        run_id=facts["run_id"],
        model=model,
        optimizer=groups["optimizer"],
        best=model if facts["best_is_model"] else groups["best"],
    )


def write_state(path: Path, facts: Mapping[str, object], groups: Groups) -> None:
    """Replace a file of JSON facts and arrays.

    It is NumPy's .npz with the arrays `facts` (uint8, JSON in UTF-8), `GROUP_00000`, `GROUP_00001` and so on.

    Raises:
        OutputError: it cannot be written; the previous one is kept.
    """
    text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    arrays: dict[str, Any] = {
        f"{group}_{index:05d}": array
        for group, members in groups.items()
        for index, array in enumerate(members)
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, facts=text, **arrays)


def read_state(path: Path, restored: Callable[[Any, Groups], T]) -> T | None:
    """Read what `write_state` wrote; None if there is no file.

    Args:
        path: of the file.
        restored: makes the result from facts and groups; a group that is not in the file is empty.

    Raises:
        CheckpointCorrupt: the file, or what is in it, cannot be read.
    """
    groups: dict[str, list[NDArray[Any]]] = defaultdict(list)
    try:
        # Opened here because NumPy leaves its own handle open if the file is damaged.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            facts = json.loads(file["facts"].tobytes())
            for name in sorted(set(file.files) - {"facts"}):
                groups[name.rpartition("_")[0]].append(file[name])
        return restored(facts, groups)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointCorrupt(path=path, reason=str(error)) from error


def values_of(variables: Iterable[Any]) -> list[NDArray[Any]]:
    """Copies of the values of Keras variables."""
    return [np.array(variable) for variable in variables]


def assign(variables: Sequence[Any], values: Arrays, *, architecture: str, checkpoint: str) -> None:
    """Put the values of a checkpoint into Keras variables.

    Args:
        variables: of a model or an optimizer.
        values: one array for each.
        architecture: name of the network, for the message.
        checkpoint: what the message says to remove.

    Raises:
        TrainingFailed: the values are those of another network.
    """
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in values]:
        raise TrainingFailed(
            architecture=architecture,
            reason=f"the checkpoint holds {len(values)} arrays that do not fit the network's {len(shapes)}",
            remedy=f"remove {checkpoint} and train again",
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


_CODE = Path(__file__).parents[1]


def run_key(name: str, params: Params, *, dataset: Dataset, origin: Origin, weights: Path) -> str:
    """Hash of data, seed, parameters, pretrained weights, source code and library versions.

    Args:
        name: of the architecture.
        params: all parameters; those of other stages and architectures do not count.
        dataset: what `prepare` made.
        origin: content of `origin.json`.
        weights: the folder that lies in.
    """
    inputs = {
        **asdict(dataset),
        "seed": params.seed,
        "origin": asdict(origin),
        "weights": _content(weights, origin.file),
        **params.model_dump(mode="json", include={"training", "augmentation", "head"}),
        "model": params.model(name).model_dump(mode="json"),
        "libraries": [version("keras"), version("tensorflow")],
    }
    return checkpoint_key(inputs, _sources(name))


def _sources(name: str) -> list[Path]:
    return [
        _CODE / "model" / "keras_classifier.py",
        _CODE / "weights" / "pretrained.py",
        *(_CODE / "train").glob("*.py"),
        *(_CODE / "architectures").glob("_*.py"),
        _CODE / "architectures" / f"{name}.py",
    ]


def _content(folder: Path, file: str | None) -> list[str]:
    if file is None:
        return []
    path = folder / file
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [sha256_of(item) for item in files if item.is_file()]
