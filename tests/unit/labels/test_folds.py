"""Which pictures are in which fold: each once, never a person in two, about equally many."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.errors import OptionError
from pipelines.labels.folds import assign_folds, check_classes, fold_parts

CLASSES = ("angry", "happy", "sad")
SPLITS = ("test", "train", "val")


def manifest(people: dict[str, list[int]]) -> pd.DataFrame:
    """Rows of people: split → number of pictures of each of its people; perceptual hashes far apart."""
    random = np.random.default_rng(1)
    rows = [
        {"split": split, "group": f"{split}{person}", "label": CLASSES[(person + picture) % len(CLASSES)]}
        for split in SPLITS
        for person, pictures in enumerate(people[split])
        for picture in range(pictures)
    ]
    return pd.DataFrame(rows).assign(
        perceptual_hash=[f"{value:016x}" for value in random.integers(0, 2**63, len(rows), np.uint64)]
    )


counts = st.lists(st.integers(1, 6), min_size=5, max_size=20)


@given(
    people=st.fixed_dictionaries(dict.fromkeys(SPLITS, counts)),
    folds=st.integers(2, 5),
    seed=st.integers(0, 3),
)
def test_every_picture_is_judged_once_by_a_network_without_its_people(
    people: dict[str, list[int]], folds: int, seed: int
) -> None:
    rows = manifest(people)
    fold_of = assign_folds(rows, folds=folds, seed=seed, near_bits=0)
    judged = np.zeros(len(rows), np.int64)
    for fold in range(folds):
        parts = fold_parts(rows, fold_of, fold)
        judged[parts.judged] += 1
        seen = np.concatenate([parts.training, parts.stopping])
        assert set(rows["group"].iloc[seen]).isdisjoint(rows["group"].iloc[parts.judged])
        assert set(rows["split"].iloc[parts.training]) == {"train"}
        assert set(rows["split"].iloc[parts.stopping]) == {"val"}
        # Nothing of the other folds is wasted.
        in_use = (fold_of != fold) & (rows["split"] != "test").to_numpy()
        assert sorted(seen) == np.flatnonzero(in_use).tolist()
    assert judged.tolist() == [1] * len(rows)
    for split in SPLITS:
        sizes = np.bincount(fold_of[(rows["split"] == split).to_numpy()], minlength=folds)
        assert sizes.max() - sizes.min() <= max(people[split]), "a fold is larger than another by a person"


def test_folds_depend_on_the_seed_alone_and_not_on_the_order_of_rows() -> None:
    rows = manifest({"train": [3] * 40, "val": [2] * 9, "test": [1] * 9})
    fold_of = assign_folds(rows, folds=4, seed=7, near_bits=0)
    order = np.random.default_rng(0).permutation(len(rows))
    # Splits stay together in the order of the manifest's paths.
    shuffled = rows.iloc[order].reset_index(drop=True)
    assert (assign_folds(shuffled, folds=4, seed=7, near_bits=0) == fold_of[order]).all()
    assert (assign_folds(rows, folds=4, seed=8, near_bits=0) != fold_of).any()


@pytest.mark.parametrize("other", ["train7", "val1"], ids=["same-split", "other-split"])
def test_near_duplicates_of_different_people_are_in_one_fold(other: str) -> None:
    rows = manifest({"train": [2] * 12, "val": [2] * 4, "test": [2] * 4})
    one = int(rows.index[rows["group"] == "train0"][0])
    two = int(rows.index[rows["group"] == other][1])
    hashes = rows["perceptual_hash"].tolist()
    hashes[two] = f"{int(hashes[one], 16) ^ 0b101:016x}"  # two bits apart
    rows = rows.assign(perceptual_hash=hashes)
    for seed in range(10):
        fold_of = assign_folds(rows, folds=3, seed=seed, near_bits=4)
        assert len(set(fold_of[rows["group"].isin(["train0", other]).to_numpy()])) == 1
    apart = [assign_folds(rows, folds=3, seed=seed, near_bits=0) for seed in range(10)]
    assert any(folds[one] != folds[two] for folds in apart), "the case proves nothing"


@pytest.mark.parametrize("split", ["train", "val"])
def test_more_folds_than_people_are_refused(split: str) -> None:
    people = {"train": [2] * 9, "val": [2] * 9, "test": [2]} | {split: [5, 5, 5]}
    assert assign_folds(manifest(people), folds=3, seed=0, near_bits=0).max() == 2
    with pytest.raises(OptionError) as caught:
        assign_folds(manifest(people), folds=4, seed=0, near_bits=0)
    assert (caught.value.option, caught.value.got) == ("--folds", 4)
    assert split in str(caught.value)


def test_a_class_that_one_fold_has_alone_is_refused() -> None:
    rows = manifest({"train": [3] * 8, "val": [3] * 4, "test": [3] * 4})
    fold_of = assign_folds(rows, folds=2, seed=0, near_bits=0)
    check_classes(rows, fold_of, CLASSES)
    alone = (fold_of == 1) | (rows["split"] != "train").to_numpy()
    rows = rows.assign(label=np.where(~alone & (rows["label"] == "sad"), "happy", rows["label"]))
    with pytest.raises(OptionError) as caught:
        check_classes(rows, fold_of, CLASSES)
    assert "fold 2" in str(caught.value)
    assert "sad" in str(caught.value)
