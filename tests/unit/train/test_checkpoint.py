"""Checkpoints: whole or not at all, and never of another run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.core.errors import OutputError
from pipelines.train.checkpoint import (
    Checkpoint,
    CheckpointCorrupt,
    CheckpointFile,
    Epoch,
    checkpoint_key,
    read_state,
    write_state,
)
from pipelines.train.metrics import Validation
from pipelines.train.schedule import Stopping

BEST = Validation(loss=0.5, accuracy=0.75, macro_f1=0.7)
EPOCH = Epoch(
    epoch=1,
    phase="head",
    learning_rate=0.001,
    loss=0.1 + 0.2,
    accuracy=0.5,
    val_loss=1.0,
    val_accuracy=0.4,
    val_macro_f1=0.3,
)


def state(*, shared: bool = False) -> Checkpoint:
    rng = np.random.default_rng(0)
    model = [rng.normal(size=(3, 2)).astype(np.float32), np.array([7, 8], np.uint32)]
    return Checkpoint(
        phase=1,
        phase_epochs=2,
        history=(EPOCH,),
        stopping=Stopping(best=BEST, best_epoch=1, waited=1),
        run_id="abc",
        model=model,
        optimizer=[np.array(5, np.int64), np.zeros((0, 3), np.float32)],
        best=model if shared else [array + 1 for array in model],
    )


@pytest.mark.parametrize("shared", [False, True], ids=["best-differs", "best-is-now"])
def test_what_is_saved_is_loaded(tmp_path: Path, shared: bool) -> None:
    file, saved = CheckpointFile(tmp_path, "key"), state(shared=shared)
    file.save(saved)
    loaded = file.load()
    assert loaded is not None
    for kind in ("model", "optimizer", "best"):
        for got, expected in zip(getattr(loaded, kind), getattr(saved, kind), strict=True):
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected)
    for fact in ("phase", "phase_epochs", "history", "stopping", "run_id"):
        assert getattr(loaded, fact) == getattr(saved, fact)


def test_more_arrays_than_ten_keep_their_order(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path, "key")
    many = Checkpoint(**{**vars(state()), "model": [np.array(index) for index in range(120)]})
    file.save(many)
    loaded = file.load()
    assert loaded is not None
    assert [int(array) for array in loaded.model] == list(range(120))


FACTS: dict[str, Any] = {"key": "recipe", "epochs": 3, "processor_s": 0.1 + 0.2}
ARRAYS: dict[str, NDArray[Any]] = {
    "model_00000": np.array([[1.5, -2]], np.float32),
    "model_00001": np.array([7, 8], np.uint32),
    "optimizer_00000": np.array(5, np.int64),
}


def test_a_file_that_numpy_alone_wrote_is_read(tmp_path: Path) -> None:
    """The names are those of every checkpoint so far, so that a pretraining continues after an update."""
    content: dict[str, Any] = {**ARRAYS, "facts": np.frombuffer(json.dumps(FACTS).encode(), np.uint8)}
    np.savez(tmp_path / "vgg.npz", **content)
    found = read_state(tmp_path / "vgg.npz", lambda facts, groups: (facts, groups))
    assert found is not None
    facts, groups = found
    assert facts == FACTS
    assert {name: len(arrays) for name, arrays in groups.items()} == {"model": 2, "optimizer": 1}
    for name, expected in ARRAYS.items():
        group, _, index = name.partition("_")
        got = groups[group][int(index)]
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


def test_numpy_alone_reads_what_is_written(tmp_path: Path) -> None:
    groups = {
        "model": [ARRAYS["model_00000"], ARRAYS["model_00001"]],
        "optimizer": [ARRAYS["optimizer_00000"]],
    }
    write_state(tmp_path / "vgg.npz", FACTS, groups)
    with np.load(tmp_path / "vgg.npz", allow_pickle=False) as file:
        assert sorted(file.files) == sorted([*ARRAYS, "facts"])
        assert json.loads(file["facts"].tobytes()) == FACTS
        for name, expected in ARRAYS.items():
            np.testing.assert_array_equal(file[name], expected)


@pytest.mark.parametrize("facts", [b"", b"{", b'{"epochs": 3}', b"[]"])
def test_facts_that_are_not_those_expected_are_corrupt(tmp_path: Path, facts: bytes) -> None:
    np.savez(tmp_path / "vgg.npz", facts=np.frombuffer(facts, np.uint8))
    with pytest.raises(CheckpointCorrupt) as caught:
        read_state(tmp_path / "vgg.npz", lambda facts, groups: facts["key"])
    assert caught.value.path == tmp_path / "vgg.npz"
    assert caught.value.reason


def test_without_a_file_there_is_no_checkpoint(tmp_path: Path) -> None:
    assert CheckpointFile(tmp_path / "none", "key").load() is None


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_corrupt(tmp_path: Path, keep: float) -> None:
    file = CheckpointFile(tmp_path, "key")
    file.save(state())
    content = file.path.read_bytes()
    file.path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(CheckpointCorrupt, match=r"checkpoint\.npz"):
        file.load()


def test_a_flipped_byte_is_corrupt(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path, "key")
    file.save(state())
    content = bytearray(file.path.read_bytes())
    place = content.index(np.asarray(state().model[0]).tobytes())
    content[place] ^= 0xFF
    file.path.write_bytes(content)
    with pytest.raises(CheckpointCorrupt):
        file.load()


def test_a_failed_save_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = CheckpointFile(tmp_path, "key")
    file.save(state())
    before = file.path.read_bytes()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OutputError, match="No space left"):
        file.save(state(shared=True))
    assert file.path.read_bytes() == before
    assert [path.name for path in file.folder.iterdir()] == ["checkpoint.npz"]


def test_others_are_removed_and_in_the_end_all(tmp_path: Path) -> None:
    old, new = CheckpointFile(tmp_path / "lenet", "old"), CheckpointFile(tmp_path / "lenet", "new")
    old.save(state())
    new.save(state())
    new.remove_others()
    assert old.load() is None
    assert new.load() is not None
    new.remove()
    assert not (tmp_path / "lenet").exists()


def test_the_key_changes_with_inputs_and_sources_only(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("a = 1")
    key = checkpoint_key({"seed": 1, "rate": 0.1}, [source])
    assert key == checkpoint_key({"rate": 0.1, "seed": 1}, [source])
    assert key != checkpoint_key({"seed": 2, "rate": 0.1}, [source])
    source.write_text("a = 2")
    assert key != checkpoint_key({"seed": 1, "rate": 0.1}, [source])
