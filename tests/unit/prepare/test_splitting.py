from __future__ import annotations

import hashlib
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.source_images import Source
from pipelines.prepare.splitting import Placement, carve, place

FRACTIONS = {"test": 0.2, "val": 0.12}
NAMES = st.lists(st.from_regex(r"id[0-9]{1,3}_[a-z]{1,3}\.jpg", fullmatch=True), unique=True, max_size=40)


def source(name: str, *, label: str = "happy", split: str | None = None) -> Source:
    folder = f"{split}/{label}" if split else label
    return Source(locator=f"data/{folder}/{name}", label=label, split=split)


def placed(*sources: Source, seed: int = 20, pattern: str | None = r"^(id\d+)_") -> Placement:
    return place(sources, seed=seed, pattern=pattern, val_fraction=0.12, test_fraction=0.2)


def splits(placement: Placement) -> dict[str, str]:
    return {item.source.locator: item.split for item in placement.placed}


@given(NAMES, NAMES, st.integers(0, 2**31 - 1))
def test_adding_images_moves_none(before: list[str], added: list[str], seed: int) -> None:
    old = splits(placed(*map(source, before), seed=seed))
    new = splits(placed(*map(source, [*before, *added]), seed=seed))
    assert {locator: new[locator] for locator in old} == old


@given(NAMES, st.randoms())
def test_the_order_of_files_does_not_matter(names: list[str], random: Random) -> None:
    shuffled = list(names)
    random.shuffle(shuffled)
    assert splits(placed(*map(source, names))) == splits(placed(*map(source, shuffled)))


@given(NAMES)
def test_no_group_stands_in_two_splits(names: list[str]) -> None:
    placement = placed(*map(source, names))
    pairs = {(item.group, item.split) for item in placement.placed}
    assert len(pairs) == len({group for group, _ in pairs})


def test_the_split_is_a_hash_of_seed_and_group() -> None:
    for group in ("id001", "id002", "ß"):
        number = int(hashlib.sha256(f"7\0{group}".encode()).hexdigest()[:16], 16) / 16**16
        expected = "test" if number < 0.2 else "val" if number < 0.32 else "train"
        assert carve(group, seed=7, fractions=FRACTIONS) == expected


def test_shares_come_out_as_asked() -> None:
    count = Counter(carve(f"id{i}", seed=20, fractions=FRACTIONS) for i in range(20_000))
    # Three standard deviations of a share of 20,000 draws are at most 0.0085.
    assert count["test"] / 20_000 == pytest.approx(0.2, abs=0.0085)
    assert count["val"] / 20_000 == pytest.approx(0.12, abs=0.0085)


def test_another_seed_is_another_split() -> None:
    sources = [source(f"id{i}_a.jpg") for i in range(50)]
    assert splits(placed(*sources, seed=1)) != splits(placed(*sources, seed=2))


def test_given_splits_are_kept_and_only_the_missing_one_is_carved() -> None:
    sources = [source(f"id{i}_a.jpg", split="train") for i in range(200)]
    sources += [source(f"id{i}_a.jpg", split="test") for i in range(200, 220)]
    result = splits(placed(*sources))
    assert all(result[item.locator] == "test" for item in sources[200:])
    carved = Counter(result[item.locator] for item in sources[:200])
    assert carved.keys() == {"train", "val"}
    assert 8 <= carved["val"] <= 45


def test_all_three_given_splits_stay() -> None:
    sources = [source(f"id{split}_a.jpg", split=split) for split in ("train", "val", "test")]
    assert set(splits(placed(*sources, pattern=None)).values()) == {"train", "val", "test"}
    assert all(item.split == item.source.split for item in placed(*sources, pattern=None).placed)


def test_a_group_in_two_given_splits_stays_in_the_test_alone() -> None:
    both = [source("id1_a.jpg", split=split) for split in ("train", "val", "test")]
    other = source("id2_a.jpg", split="val")
    placement = placed(*both, other)
    assert [item.source for item in placement.placed] == [both[2], other]
    assert placement.spanning == (both[0], both[1])


def test_without_a_pattern_each_image_is_its_own_group() -> None:
    sources = [source("same.jpg", split="train"), source("same.jpg", split="test"), source("same.png")]
    groups = [item.group for item in placed(*sources, pattern=None).placed]
    assert groups == [item.locator for item in sources]


def test_names_the_pattern_does_not_match_are_counted() -> None:
    placement = placed(source("id1_a.jpg"), source("portrait.jpg"))
    assert [item.group for item in placement.placed] == ["id1", "data/happy/portrait.jpg"]
    assert placement.ungrouped == 1


def test_the_pattern_sees_the_file_name_only() -> None:
    item = placed(source("id1_a.jpg", label="id9_happy")).placed[0]
    assert item.group == "id1"


def test_prepared_names_are_the_originals_stems() -> None:
    item = placed(source("id1_a.b.jpg")).placed[0]
    assert item.path == f"images/{item.split}/happy/id1_a.b.png"


def test_clashing_names_all_get_a_hash_of_their_place() -> None:
    sources = [source("id1_a.jpg"), source("id1_a.png"), source("ID1_A.bmp"), source("id1_b.jpg")]
    names = [item.path.rpartition("/")[2] for item in placed(*sources, pattern=r"(?i)^(id)").placed]
    assert names[3] == "id1_b.png"
    assert len({name.casefold() for name in names}) == 4
    expected = hashlib.sha256(b"data/happy/id1_a.jpg").hexdigest()[:8]
    assert names[0] == f"id1_a-{expected}.png"


def test_rows_of_a_table_are_named_by_their_number() -> None:
    row = Source(locator="data/fer2013.csv#17", label="sad", split="test")
    assert placed(row).placed[0].path == "images/test/sad/fer2013-00017.png"
