"""`python -m pipelines.prepare` on folders as other people lay them out, and as computers leave them."""

from __future__ import annotations

import os
import socket
import unicodedata
from pathlib import Path

import pytest

from tests.support.prepare_project import Originals

CLASSES = ("happy", "sad")


@pytest.fixture
def project(tmp_path: Path, repository: Path) -> Originals:
    return Originals.create(tmp_path, repository, group_pattern=None)


def fill(project: Originals, names: dict[str, int]) -> None:
    for name, count in names.items():
        project.add_all([f"data/{name}/{label}" for label in CLASSES], count)


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        ({"Train": 1, "Val": 2, "Test": 3}, ("train", "val", "test")),
        ({"Training": 1, "PublicTest": 2, "PrivateTest": 3}, ("train", "val", "test")),
        ({"TRAIN_SET": 1, "validation-set": 2, "test images": 3}, ("train", "val", "test")),
        ({"Training": 40, "Testing": 3}, (None, "test")),
    ],
    ids=lambda value: "+".join(map(str, value)),
)
def test_split_folders_under_usual_names_are_splits(
    project: Originals, names: dict[str, int], splits: tuple[str | None, ...]
) -> None:
    fill(project, names)
    project.run()
    found = project.manifest
    assert set(found["label"]) == set(CLASSES)
    for name, split in zip(names, splits, strict=True):
        there = {found["split"][source] for source in found.index if source.startswith(f"data/{name}/")}
        # What is missing is drawn out of the pictures for training.
        assert there == ({split} if split else {"train", "val"})
    assert set(found["split"]) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("Train", "training"), "'Train' and 'training'"),
        (("Test", "PrivateTest", "Train"), "'PrivateTest' and 'Test'"),
        (("Val", "Test"), "nothing to train on"),
        (("train", "test", "Neutral"), "'Neutral' beside 'test', 'train'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_split_folders_that_cannot_be_understood_are_refused(
    project: Originals, names: tuple[str, ...], said: str
) -> None:
    fill(project, dict.fromkeys(names, 1))
    assert said in project.refused()


def test_splits_inside_the_classes_are_refused(project: Originals) -> None:
    project.add_all([f"data/{label}/{split}" for label in CLASSES for split in ("Train", "Test")], 2)
    assert "data/train/happy" in project.refused()


def test_a_folder_around_the_classes_is_named(project: Originals) -> None:
    project.add_all([f"data/archive/{label}" for label in CLASSES], 2)
    message = project.refused()
    assert "happy, sad" in message
    assert "data/archive" in message


def test_classes_may_be_called_like_a_split(project: Originals) -> None:
    project.add_all(["data/valid", "data/invalid"], 40)
    project.run()
    assert set(project.manifest["label"]) == {"valid", "invalid"}


LEFT_BEHIND = (
    "__MACOSX/happy/a.png",
    "@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg",
    "#recycle/a.png",
    "@Recycle/a.png",
    "$RECYCLE.BIN/S-1-5-21/a.png",
    "System Volume Information/tracking.log",
    "lost+found/a.png",
    "a.png:Zone.Identifier",
    "a.png\uf03aZone.Identifier",
    "Thumbs.db",
    "ehthumbs.db",
    "EHTHUMBS_VISTA.DB",
    "Desktop.ini",
    "._a.png",
    ".DS_Store",
    ".Trash-1000/a.png",
    "Icon\r",
)


def test_what_computers_leave_behind_is_passed_over_at_every_level(
    project: Originals,
) -> None:
    fill(project, {"train": 3, "val": 1, "test": 1})
    project.add("data/train/happy/deeper")
    project.run()
    before = {path: path.read_bytes() for path in (project.root / "prepared").rglob("*") if path.is_file()}
    report = project.report
    for folder in ("data", "data/train", "data/train/happy", "data/train/happy/deeper"):
        for name in LEFT_BEHIND:
            path = project.root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"not a picture")
    project.run()
    assert {
        path: path.read_bytes() for path in (project.root / "prepared").rglob("*") if path.is_file()
    } == before
    assert project.report == report


def test_what_computers_leave_behind_has_no_versions(project: Originals, repository: Path) -> None:
    (project.root / ".dvcignore").write_text((repository / ".dvcignore").read_text())
    project.run("git", "init", "--quiet")
    project.run("dvc", "init", "--quiet")
    project.add("data/happy")
    # A carriage return and other hidden names are left to git's syntax and to people.
    names = [name for name in LEFT_BEHIND if name != "Icon\r" and not name.startswith(".Trash")]
    for name in names:
        path = project.root / "data/happy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not a picture")
    project.run("dvc", "add", "--quiet", "data")
    assert "nfiles: 1\n" in (project.root / "data.dvc").read_text()


def test_what_is_not_a_file_is_passed_over_and_named(project: Originals) -> None:
    fill(project, {"train": 3, "val": 1, "test": 1})
    os.mkfifo(project.root / "data/train/happy/pipe.png")
    os.mkfifo(project.root / "data/test/pipe")
    (project.root / "data/notes.txt").write_text("hello")
    with socket.socket(socket.AF_UNIX) as listener:
        # A relative path: the name of a socket has 107 characters at most.
        folder = os.open(project.root / "data/val/sad", os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{folder}/socket")
        os.close(folder)
        done = project.run()
    listed = {entry["source"]: entry["reason"] for entry in project.report["passed_over"]["list"]}
    assert listed.keys() == {
        "data/train/happy/pipe.png",
        "data/test/pipe",
        "data/notes.txt",
        "data/val/sad/socket",
    }
    assert listed["data/train/happy/pipe.png"] == "a FIFO"
    assert listed["data/val/sad/socket"] == "a socket"
    assert all(name in done.stdout for name in listed)
    assert project.report["kept"] == 10


@pytest.mark.parametrize("link", ["data/calm", "data/happy/more", "data/happy/deep/er"])
def test_links_to_folders_are_refused_and_named(project: Originals, link: str) -> None:
    project.add_all([f"data/{label}" for label in CLASSES], 2)
    project.add("elsewhere", 2)
    (project.root / link).parent.mkdir(parents=True, exist_ok=True)
    (project.root / link).symlink_to(project.root / "elsewhere")
    message = project.refused()
    assert f"{link}:" in message
    assert "DVC" in message


def test_a_link_to_a_file_is_prepared_as_what_it_points_to(project: Originals) -> None:
    fill(project, {"train": 3, "val": 1, "test": 1})
    project.add("elsewhere")
    (project.root / "data/train/happy/linked.png").symlink_to(project.root / "elsewhere/p0.png")
    project.run()
    assert project.splits["data/train/happy/linked.png"] == "train"


@pytest.mark.parametrize("name", ["hap\npy", "happy\u202e", "hap\x7fpy"], ids=ascii)
def test_a_class_that_no_model_could_carry_is_refused(project: Originals, name: str) -> None:
    project.add_all([f"data/{name}", "data/sad"], 2)
    message = project.refused()
    assert repr(name) in message
    assert "rename" in message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Happy", "happy"),
        ("happy", "happy "),
        ("fr\u00f6hlich", unicodedata.normalize("NFD", "fr\u00f6hlich")),
    ],
    ids=["case", "space", "unicode"],
)
def test_classes_that_look_the_same_are_refused(project: Originals, first: str, second: str) -> None:
    project.add_all([f"data/train/{first}", "data/train/sad", f"data/test/{second}", "data/test/sad"], 2)
    message = project.refused()
    assert repr(first) in message
    assert repr(second) in message
