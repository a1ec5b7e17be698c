from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.prepare.duplicates import find_duplicates, find_near_duplicates, near_pairs


def rows(*items: tuple[str, str, str, str]) -> pd.DataFrame:
    """Rows of (source, split, label, pixel_sha256)."""
    return pd.DataFrame(items, columns=["source", "split", "label", "pixel_sha256"])


def test_pictures_that_differ_all_stay() -> None:
    found = find_duplicates(rows(("a", "train", "happy", "1"), ("b", "test", "happy", "2")))
    assert found.dropped.tolist() == []
    assert found.across_splits == 0


@pytest.mark.parametrize(
    ("splits", "kept"),
    [
        (("train", "test"), 1),
        (("train", "val"), 1),
        (("val", "test"), 1),
        (("test", "val", "train"), 0),
        (("train", "train"), 0),
    ],
)
def test_one_copy_stays_by_precedence(splits: tuple[str, ...], kept: int) -> None:
    table = rows(*((name, split, "happy", "1") for name, split in zip("abc", splits, strict=False)))
    found = find_duplicates(table)
    assert set(found.dropped) == set(range(len(splits))) - {kept}
    assert set(found.keepers.values()) == {kept}
    assert found.across_splits == (len(set(splits)) > 1)


def test_within_a_split_the_first_by_source_stays_for_every_order_of_rows() -> None:
    table = rows(("z", "train", "happy", "1"), ("a", "train", "happy", "1"), ("m", "train", "happy", "1"))
    assert find_duplicates(table).keepers == {0: 1, 2: 1}


def test_one_picture_under_two_labels_goes_entirely() -> None:
    table = rows(
        ("a", "test", "happy", "1"),
        ("b", "train", "sad", "1"),
        ("c", "train", "happy", "1"),
        ("d", "train", "sad", "2"),
    )
    found = find_duplicates(table)
    assert found.conflicts == ((0, 1, 2),) or found.conflicts == ((0, 2, 1),)
    assert found.keepers == {}
    assert found.dropped.tolist() == [0, 1, 2]


def test_no_pixels_stand_twice_in_what_is_left() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "source": [f"{i:03d}" for i in range(300)],
            "split": rng.choice(["train", "val", "test"], 300),
            "label": rng.choice(["happy", "sad"], 300, p=[0.9, 0.1]),
            "pixel_sha256": rng.integers(0, 150, 300).astype(str),
        }
    )
    kept = table.drop(find_duplicates(table).dropped)
    assert kept["pixel_sha256"].is_unique
    single_label = table.groupby("pixel_sha256")["label"].nunique() == 1
    assert set(kept["pixel_sha256"]) == set(single_label[single_label].index)


@given(
    st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=30),
    st.integers(0, 63),
    st.lists(st.sets(st.integers(0, 63), max_size=5), max_size=10),
    st.integers(0, 9),
)
def test_near_pairs_are_all_pairs_within_reach(
    values: list[int], start: int, flips: list[set[int]], bits: int
) -> None:
    near = [values[start % len(values)] ^ sum(1 << bit for bit in flip) for flip in flips if values]
    hashes = sorted({*values, *near})
    expected = [
        [a, b]
        for a, b in itertools.combinations(range(len(hashes)), 2)
        if (hashes[a] ^ hashes[b]).bit_count() <= bits
    ]
    found = near_pairs(np.array(hashes, dtype=np.uint64), bits=bits)
    assert found.tolist() == expected


def test_a_bucket_of_many_is_compared_block_by_block() -> None:
    # All share the upper bits, so every band but the last puts them into one bucket.
    hashes = np.arange(5000, dtype=np.uint64)
    found = near_pairs(hashes, bits=1)
    expected = [(a, a ^ (1 << bit)) for a in range(5000) for bit in range(13)]
    assert {tuple(pair) for pair in found.tolist()} == {(a, b) for a, b in expected if a < b and b < 5000}


def hashed(*items: tuple[int, str]) -> pd.DataFrame:
    return pd.DataFrame(
        [(f"{value:016x}", split) for value, split in items], columns=["perceptual_hash", "split"]
    )


def test_near_duplicates_are_distinguished_by_where_the_other_is() -> None:
    near = find_near_duplicates(
        hashed((0, "train"), (1, "test"), (0xFF00, "train"), (0xFF01, "train"), (2**63 | 0xF0F0, "val")),
        bits=2,
    )
    assert near.elsewhere.tolist() == [True, True, False, False, False]
    assert near.within.tolist() == [False, False, True, True, False]
    assert near.pairs.tolist() == [[0, 1], [2, 3]]


def test_equal_hashes_count_at_no_distance() -> None:
    near = find_near_duplicates(hashed((5, "train"), (9, "val"), (5, "test"), (5, "test")), bits=0)
    assert near.elsewhere.tolist() == [True, False, True, True]
    assert near.within.tolist() == [False, False, True, True]
    assert near.pairs.tolist() == [[0, 2], [0, 3]]


def test_ten_thousand_equal_hashes_make_no_flood_of_pairs() -> None:
    near = find_near_duplicates(hashed(*[(7, "train")] * 10_000), bits=2)
    assert len(near.pairs) == 9_999
    assert near.within.all()
    assert not near.elsewhere.any()
