"""The state of a training, in one file that is replaced after every epoch, so that a killed run can continue.

The file is in `.checkpoints/ARCHITECTURE/KEY/`, outside of DVC's outputs. KEY is the hash of all declared
inputs of the stage, so that a checkpoint is never used with other data, parameters or code.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.core.dataset import Dataset
from pipelines.core.io import replacing, sha256_of
from pipelines.core.model_results import Origin
from pipelines.core.params import Params
from pipelines.train.metrics import Validation
from pipelines.train.schedule import Stopping

Arrays = Sequence[NDArray[Any]]
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
        arrays: dict[str, Any] = {
            **_named("model", state.model),
            **_named("optimizer", state.optimizer),
            **({} if shared else _named("best", state.best)),
        }
        facts = {
            "phase": state.phase,
            "phase_epochs": state.phase_epochs,
            "history": [asdict(epoch) for epoch in state.history],
            "stopping": asdict(state.stopping),
            "run_id": state.run_id,
            "best_is_model": shared,
        }
        text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
        with replacing(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, facts=text, **arrays)

    def load(self) -> Checkpoint | None:
        """The last checkpoint, or None if there is none.

        Raises:
            CheckpointCorrupt: there is one that cannot be read.
        """
        try:
            # Opened here because NumPy leaves its own handle open if the file is damaged.
            with self.path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                return _restored({name: file[name] for name in file.files})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise CheckpointCorrupt(path=self.path, reason=str(error)) from error

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
        super().__init__(f"{path}: {reason}")


def _named(kind: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {f"{kind}_{index:05d}": array for index, array in enumerate(arrays)}


def _restored(arrays: Mapping[str, NDArray[Any]]) -> Checkpoint:
    facts = json.loads(arrays["facts"].tobytes())
    model = _of("model", arrays)
    best = facts["stopping"].pop("best")
    return Checkpoint(
        phase=facts["phase"],
        phase_epochs=facts["phase_epochs"],
        history=tuple(Epoch(**epoch) for epoch in facts["history"]),
        stopping=Stopping(best=None if best is None else Validation(**best), **facts["stopping"]),
        run_id=facts["run_id"],
        model=model,
        optimizer=_of("optimizer", arrays),
        best=model if facts["best_is_model"] else _of("best", arrays),
    )


def _of(kind: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    return [arrays[name] for name in sorted(arrays) if name.startswith(f"{kind}_")]


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
