"""`python -m pipelines.prepare` on sets so small that a split by hash alone leaves classes short."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.prepare_project import Originals

CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
MINIMUM = 10
SEED, TEST, VAL = 20, 0.2, 0.12


@pytest.fixture
def project(tmp_path: Path, repository: Path) -> Originals:
    made = Originals.create(
        tmp_path, repository, group_pattern=r"^(id\d+)_", test_fraction=TEST, val_fraction=VAL
    )
    made.edit(validate__min_per_class_and_split=MINIMUM)
    return made


def position(group: str) -> float:
    return int(hashlib.sha256(f"{SEED}\0{group}".encode()).hexdigest()[:16], 16) / 16**16


def hashed(group: str) -> str:
    """The split that the hash alone gives."""
    return "test" if position(group) < TEST else "val" if position(group) < TEST + VAL else "train"


def counts(splits: dict[str, str]) -> Counter[tuple[str, str]]:
    return Counter((split, source.split("/")[1]) for source, split in splits.items())


def test_thirty_pictures_of_each_of_seven_classes_are_enough(project: Originals) -> None:
    project.add_all([f"data/{label}" for label in CLASSES], 30)
    done = project.run()
    splits = project.splits
    assert set(counts(splits).values()) == {MINIMUM}
    moved = {
        move["group"]: (move["from"], move["to"]) for move in project.report["moved_for_the_minimum"]["list"]
    }
    assert moved == {
        source: (hashed(source), split) for source, split in splits.items() if split != hashed(source)
    }
    assert "validate.min_per_class_and_split" in done.stdout
    # What moved out of train has the lowest hashes of its class there.
    for label in CLASSES:
        own = {
            group: to
            for group, (came_from, to) in moved.items()
            if came_from == "train" and f"/{label}/" in group
        }
        stays = [source for source, split in splits.items() if f"/{label}/" in source and split == "train"]
        assert all(position(group) < min(map(position, stays)) for group in own)
    for path in project.manifest["path"]:
        assert (project.root / "prepared" / path).is_file()
    project.run(sys.executable, "-m", "pipelines.validate")


def test_adding_pictures_moves_none_but_those_that_were_moved(project: Originals) -> None:
    folders = [f"data/{label}" for label in CLASSES[:2]]
    project.add_all(folders, 40)
    project.run()
    before, moved = (
        project.splits,
        {move["group"] for move in project.report["moved_for_the_minimum"]["list"]},
    )
    for folder in folders:
        project.add(folder, 100, first=40)
    project.run()
    after = project.splits
    assert "moved_for_the_minimum" not in project.report
    assert all(after[source] == split for source, split in before.items() if source not in moved)
    assert all(split == hashed(source) for source, split in after.items())


def test_people_are_moved_whole(project: Originals) -> None:
    for person in range(35):
        for label in CLASSES[:3]:
            project.add(f"data/{label}", 1, prefix=f"id{person}_")
    project.run()
    found = project.manifest
    assert (found.groupby("group")["split"].nunique() == 1).all()
    assert min(counts(project.splits).values()) >= MINIMUM
    assert project.report["moved_for_the_minimum"]["count"] >= 1


def test_pictures_of_one_name_in_two_folders_of_a_class_both_stay(project: Originals) -> None:
    for label in CLASSES[:2]:
        for half in ("left", "right"):
            project.add(f"data/{label}/{half}", 15)
    project.run()
    found = project.manifest
    assert len(found) == 60
    assert found["path"].is_unique
    assert all((project.root / "prepared" / path).is_file() for path in found["path"])
    assert len(list((project.root / "prepared/images").rglob("*.png"))) == 60


def test_splits_that_the_data_bring_are_not_filled_up(project: Originals) -> None:
    project.add_all([f"data/train/{label}" for label in CLASSES[:2]], 40)
    project.add_all([f"data/test/{label}" for label in CLASSES[:2]], 3)
    project.run()
    for source, split in project.splits.items():
        assert (split == "test") == source.startswith("data/test/")
    of_class = Counter((split, source.split("/")[2]) for source, split in project.splits.items())
    assert all(of_class["val", label] == MINIMUM for label in CLASSES[:2])


def test_a_class_missing_from_a_given_split_is_distinguished_from_one_of_few_people(
    project: Originals,
) -> None:
    project.add_all(
        [f"data/{split}/{label}" for split in ("train", "val", "test") for label in CLASSES[:2]], 2
    )
    project.add("data/train/fear", 5)
    given = project.refused()
    assert "split 'val' has no picture of the class 'fear', which has 5" in given
    assert "fraction" not in given
    assert "`prepare` draws" in given


def test_a_class_of_one_person_names_the_pattern(project: Originals) -> None:
    project.add_all([f"data/{label}" for label in CLASSES[:2]], 40)
    project.add("data/fear", 40, prefix="id7_")
    message = project.refused()
    assert "'fear', which has 40 of 1 person" in message
    assert "prepare.group_pattern" in message


def test_a_class_without_a_usable_picture_names_the_first(project: Originals) -> None:
    project.edit(prepare__max_unreadable_fraction=0.5)
    project.add_all([f"data/{label}" for label in CLASSES[:2]], 40)
    (project.root / "data/fear").mkdir()
    (project.root / "data/fear/a.png").write_bytes(b"not a picture")
    message = project.refused()
    assert "none of the 1 pictures of the class 'fear'" in message
    assert "data/fear/a.png" in message
