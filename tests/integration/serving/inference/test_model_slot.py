"""Admission and exchange of models, with real ONNX files."""

from __future__ import annotations

import gc
import os
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Unpack

import numpy as np
import psutil
import pytest

from serving.errors import ModelRefused
from serving.errors.requests import NotReady
from serving.inference.admission import admit
from serving.inference.model_slot import LiveModel, ModelSlot, release_memory
from tests.support.onnx_models import CLASSES, Novelty, make_contract, make_full_contract
from tests.support.serving_models import LEVELS, FolderOptions, cached_folder, flat, sha256_of


def live(folder: Path, *, version: str = "1", **options: Unpack[FolderOptions]) -> LiveModel:
    return admit(cached_folder(folder, version=version, **options), threads=1, max_batch=4)


def test_admitted_model_answers_and_knows_itself(tmp_path: Path) -> None:
    model = live(tmp_path / "m", version="7")
    answer = model.classifier.predict(flat(3)).probabilities
    assert CLASSES[int(answer.argmax())] == "happy"
    identity = model.identity
    assert (identity.version, identity.sha256) == ("7", sha256_of(tmp_path / "m"))
    # There is no file beside the model: these are in its metadata.
    assert (identity.architecture, identity.weights, identity.dataset) == ("lenet", "scratch", "5" * 64)
    assert model.warnings == ()


@pytest.mark.parametrize(
    ("max_batch", "sizes"), [(1, {1}), (4, {1, 2, 4}), (12, {1, 2, 4, 8, 16}), (64, {1, 2, 4, 8, 16, 32, 64})]
)
def test_admission_times_every_batch_size_that_is_used(
    tmp_path: Path, max_batch: int, sizes: set[int]
) -> None:
    folder = cached_folder(tmp_path / "m")
    begun = time.perf_counter()
    times = admit(folder, threads=1, max_batch=max_batch).batch_s
    assert set(times) == sizes
    assert min(times.values()) > 0
    assert sum(times.values()) < time.perf_counter() - begun


def test_model_without_self_test_is_admitted_with_a_warning(tmp_path: Path) -> None:
    assert "without selftest.npz" in live(tmp_path / "m", self_test=False).warnings[0]


def cut(folder: Path) -> None:
    file = folder / "model.onnx"
    file.write_bytes(file.read_bytes()[:-100])


def other_file(folder: Path) -> None:
    cached_folder(folder, seed=5, sha256="0" * 64)


def other_answers(folder: Path) -> None:
    _edit_self_test(
        folder, lambda stored: stored.update(probabilities=stored["probabilities"] - np.float32(0.01))
    )


def nan_answers(folder: Path) -> None:
    _edit_self_test(folder, lambda stored: stored["embedding"].fill(np.nan))


def other_pictures(folder: Path) -> None:
    _edit_self_test(folder, lambda stored: stored.update(image=np.zeros((2, 8, 8, 3), np.uint8)))


def no_pictures(folder: Path) -> None:
    _edit_self_test(folder, lambda stored: stored.update(image=stored["image"][:0]))


def cut_self_test(folder: Path) -> None:
    file = folder / "selftest.npz"
    file.write_bytes(file.read_bytes()[:-50])


def pickled_self_test(folder: Path) -> None:
    _edit_self_test(folder, lambda stored: stored.update(image=np.array([print], object)))


def not_a_number(folder: Path) -> None:
    cached_folder(folder, levels=[float("nan")] * len(LEVELS), self_test=False)


def no_contract(folder: Path) -> None:
    from tests.support.onnx_models import write_model

    write_model(folder / "model.onnx", metadata=None)


def no_file(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def no_lineage(folder: Path) -> None:
    (folder / "lineage.json").unlink()


def _edit_self_test(folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    with np.load(folder / "selftest.npz") as data:
        stored = dict(data)
    change(stored)
    np.savez_compressed(folder / "selftest.npz", **stored)


@pytest.mark.parametrize(
    ("damage", "step", "reason"),
    [
        (cut, "contract", "not a readable ONNX file"),
        (no_file, "contract", "No such file"),
        (no_contract, "contract", "no contract in its metadata"),
        (no_lineage, "lineage", "cannot be read"),
        (other_file, "digest", "registered with another"),
        (not_a_number, "warm-up", "probabilities holds NaN"),
        (other_answers, "self-test", "probabilities differs by 0.01"),
        (nan_answers, "self-test", "embedding differs by nan"),
        (other_pictures, "self-test", "the model takes others"),
        (no_pictures, "self-test", "holds no picture"),
        (cut_self_test, "self-test", "selftest.npz cannot be read"),
        (pickled_self_test, "self-test", "selftest.npz cannot be read"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_refused_with_step_and_reason(
    tmp_path: Path, damage: Callable[[Path], None], step: str, reason: str
) -> None:
    folder = cached_folder(tmp_path / "m")
    damage(folder)
    with pytest.raises(ModelRefused, match=reason) as caught:
        admit(folder, threads=1, max_batch=4)
    assert caught.value.step == step


def test_a_model_with_every_block_of_version_2_is_admitted_and_tells_novelty(tmp_path: Path) -> None:
    model = live(tmp_path / "m", contract=make_full_contract())
    assert model.warnings == ()
    assert model.contract == make_full_contract()
    # More pictures than the largest batch: the parts are joined.
    images = np.concatenate([flat(index, count=30) for index in range(len(LEVELS))])
    answers = model.classifier.predict(images)
    assert answers.novelty is not None
    assert (answers.novelty.dtype, answers.novelty.shape) == (np.dtype(np.float32), (len(images),))
    # The test's graph gives the largest feature of the embedding.
    assert np.array_equal(answers.novelty, answers.embedding.max(axis=1))
    assert len(set(answers.novelty.tolist())) == len(LEVELS)
    part = answers.part(slice(40, 70)).novelty
    assert part is not None
    assert np.array_equal(part, answers.novelty[40:70])


def without_novelty(stored: dict[str, np.ndarray]) -> None:
    del stored["novelty"]


def other_novelty(stored: dict[str, np.ndarray]) -> None:
    stored["novelty"] = stored["novelty"] * np.float32(1.1)


def novelty_as_column(stored: dict[str, np.ndarray]) -> None:
    stored["novelty"] = stored["novelty"][:, np.newaxis]


@pytest.mark.parametrize("change", [without_novelty, other_novelty, novelty_as_column])
def test_the_self_test_covers_novelty(
    tmp_path: Path, change: Callable[[dict[str, np.ndarray]], None]
) -> None:
    folder = cached_folder(tmp_path / "m", contract=make_full_contract())
    _edit_self_test(folder, change)
    with pytest.raises(ModelRefused) as caught:
        admit(folder, threads=1, max_batch=4)
    assert caught.value.step == "self-test"
    assert "novelty" in caught.value.reason


@pytest.mark.parametrize(
    ("novelty", "step"),
    [("nan", "warm-up"), ("short", "warm-up"), ("column", "contract"), ("double", "contract")],
)
def test_another_novelty_than_promised_is_refused(tmp_path: Path, novelty: Novelty, step: str) -> None:
    folder = cached_folder(tmp_path / "m", contract=make_full_contract(), novelty=novelty, self_test=False)
    with pytest.raises(ModelRefused) as caught:
        admit(folder, threads=1, max_batch=4)
    assert caught.value.step == step
    assert "novelty" in caught.value.reason


def test_small_differences_of_another_cpu_are_let_pass(tmp_path: Path) -> None:
    folder = cached_folder(tmp_path / "m")
    _edit_self_test(
        folder, lambda stored: stored.update(probabilities=stored["probabilities"] + np.float32(1e-4))
    )
    admit(folder, threads=1, max_batch=4)


def test_slot_says_why_nothing_is_live() -> None:
    slot = ModelSlot()
    slot.waiting("no model yet: none was promoted")
    with pytest.raises(NotReady, match="none was promoted"), slot.lease():
        pass


def test_leased_model_outlives_its_replacement_and_no_longer(tmp_path: Path) -> None:
    """Without the garbage collector: the last reference frees the session, not some later moment."""
    slot = ModelSlot()
    slot.switch(live(tmp_path / "a", version="1"), "first")
    gc.disable()
    try:
        with slot.lease() as leased:
            session = weakref.ref(leased.classifier)
            slot.switch(live(tmp_path / "b", version="2", seed=1), "second")
            assert slot.require().identity.version == "2"
            answer = int(leased.classifier.predict(flat(0)).probabilities.argmax())
        assert session() is not None
        del leased
        assert (answer, session()) == (0, None)
    finally:
        gc.enable()


def test_refusal_is_kept_until_another_is_admitted(tmp_path: Path) -> None:
    slot = ModelSlot()
    slot.refuse(ModelRefused(version="2", sha256="a" * 64, step="self-test", reason="differs"))
    refused = slot.refused
    assert refused is not None
    assert (refused.version, refused.step, refused.reason) == ("2", "self-test", "differs")
    slot.switch(live(tmp_path / "a"), "first")
    assert slot.refused is None
    assert (slot.switches, slot.refusals) == (1, 1)


def test_fifty_swaps_leave_memory_where_it_was(tmp_path: Path) -> None:
    contract = make_contract(side=96)
    folders = [
        cached_folder(tmp_path / str(seed), version=str(seed), seed=seed, contract=contract)
        for seed in (1, 2)
    ]
    slot = ModelSlot()
    process = psutil.Process(os.getpid())

    def swap(index: int) -> int:
        slot.switch(admit(folders[index % 2], threads=1, max_batch=16), "again")
        slot.require().classifier.predict(flat(1, count=16, side=96))
        release_memory()
        return int(process.memory_info().rss)

    # The first few fill the allocator's own pools.
    settled = max(swap(index) for index in range(3))
    after = [swap(index) for index in range(50)]
    assert max(after[-10:]) <= 1.1 * settled, (settled, after)
