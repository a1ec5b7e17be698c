"""What data hold already: their form, splits as `prepare` gives them, and pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flows.collect.dataset import POINTER, read_contents
from flows.errors import CollectRefused
from pipelines.core.params import PrepareParams, load_params
from pipelines.prepare.hashing import pixel_sha256
from tests.support.pictures import encoded

SEED = 3


@pytest.fixture
def params(repository: Path) -> PrepareParams:
    return load_params(repository / "params.yaml").prepare


def flat(value: int) -> np.ndarray:
    return np.full((8, 8, 3), value, np.uint8)


def lay(root: Path, names: dict[str, int]) -> None:
    (root / POINTER).write_text("outs: []")
    for name, value in names.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(flat(value)))


def test_splits_that_the_data_bring_are_kept_and_new_pictures_are_for_training(
    tmp_path: Path, params: PrepareParams
) -> None:
    lay(tmp_path, {"data/train/happy/a.png": 1, "data/val/happy/b.png": 2, "data/test/sad/c.png": 3})
    (tmp_path / "data/train/sad").mkdir()
    (tmp_path / "data/train/sad/d.png").write_bytes(encoded(flat(4)))
    held = read_contents(tmp_path, params, seed=SEED, minimum=1)
    assert held.folder == tmp_path / "data" / "train"
    assert held.classes == {"happy", "sad"}
    assert held.held_out == {pixel_sha256(flat(2)), pixel_sha256(flat(3))}
    assert held.others == {pixel_sha256(flat(1)), pixel_sha256(flat(4))}


def test_without_splits_classes_lie_in_the_data_themselves(tmp_path: Path, params: PrepareParams) -> None:
    lay(tmp_path, {f"data/happy/id{number:02}_x.png": number for number in range(40)})
    held = read_contents(tmp_path, params, seed=SEED, minimum=1)
    assert held.folder == tmp_path / "data"
    assert len(held.held_out | held.others) == 40
    assert 1 <= len(held.held_out) < 30


def test_what_cannot_be_read_is_passed_over(tmp_path: Path, params: PrepareParams) -> None:
    lay(tmp_path, {"data/happy/a.png": 1})
    (tmp_path / "data/happy/b.png").write_bytes(b"no picture")
    held = read_contents(tmp_path, params, seed=SEED, minimum=1)
    assert held.held_out | held.others == {pixel_sha256(flat(1))}


def test_a_published_table_is_not_added_to(tmp_path: Path, params: PrepareParams) -> None:
    lay(tmp_path, {})
    (tmp_path / "data").mkdir()
    (tmp_path / "data/fer2013.csv").write_text("emotion,pixels,Usage\n")
    with pytest.raises(CollectRefused, match=r"fer2013\.csv, a published table .* data/<class>/"):
        read_contents(tmp_path, params, seed=SEED, minimum=1)


def test_data_without_versions_are_refused(tmp_path: Path, params: PrepareParams) -> None:
    lay(tmp_path, {"data/happy/a.png": 1})
    (tmp_path / POINTER).unlink()
    with pytest.raises(CollectRefused, match="run `dvc add data`"):
        read_contents(tmp_path, params, seed=SEED, minimum=1)
