from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pipelines.core.errors import ClassMissing, DataError, NoImages, SplitsUnclear
from pipelines.core.source_images import read_image, read_original
from pipelines.prepare.listing import find_sources
from serving.errors import ImageError, ImageUndecodable
from tests.support.pictures import textured, write_picture

HEADER = "emotion,pixels,Usage"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def touch(data: Path, *names: str) -> None:
    for name in names:
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def table(data: Path, *rows: str, header: str = HEADER, name: str = "fer2013.csv") -> Path:
    path = data / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def found(data: Path) -> list[tuple[str, str, str | None]]:
    return [(item.locator, item.label, item.split) for item in find_sources(data, root=data.parent).sources]


def test_class_folders(data: Path) -> None:
    touch(data, "sad/b.png", "happy/z.jpg", "happy/a.JPG", "happy/deep/er/c.webp")
    assert found(data) == [
        ("data/happy/a.JPG", "happy", None),
        ("data/happy/z.jpg", "happy", None),
        ("data/happy/deep/er/c.webp", "happy", None),
        ("data/sad/b.png", "sad", None),
    ]


def test_split_folders(data: Path) -> None:
    touch(data, "train/sad/b.png", "test/sad/b.png", "val/happy/a.png")
    assert found(data) == [
        ("data/test/sad/b.png", "sad", "test"),
        ("data/train/sad/b.png", "sad", "train"),
        ("data/val/happy/a.png", "happy", "val"),
    ]


def test_litter_and_hidden_files_are_no_pictures(data: Path) -> None:
    touch(
        data, ".gitignore", "README.md", "happy/.DS_Store", "happy/Thumbs.db", "happy/a.png", ".cache/x/a.png"
    )
    assert found(data) == [("data/happy/a.png", "happy", None)]


def test_rows_of_the_table(data: Path) -> None:
    pixels = " ".join(["7"] * 4)
    table(
        data,
        f"0,{pixels},Training",
        f'3,"{pixels}",PublicTest',
        "",
        f"6,{pixels},PrivateTest",
        f"4,{pixels},",
    )
    assert found(data) == [
        ("data/fer2013.csv#0", "angry", "train"),
        ("data/fer2013.csv#1", "happy", "val"),
        ("data/fer2013.csv#3", "neutral", "test"),
        ("data/fer2013.csv#4", "sad", None),
    ]


def test_a_row_is_read_by_its_number(data: Path, tmp_path: Path) -> None:
    rows = [textured(seed, width=48, height=48)[..., 0] for seed in range(3)]
    table(data, *(f"0,{' '.join(map(str, row.ravel()))},Training" for row in rows))
    for number, row in enumerate(rows):
        original = read_original(f"data/fer2013.csv#{number}", tmp_path)
        assert (original.image == row[..., None]).all()
        assert (original.mode, original.orientation, original.image.shape) == ("L", 1, (48, 48, 3))


def test_columns_may_come_in_another_order(data: Path, tmp_path: Path) -> None:
    table(data, "5, Training,1 2 3 4", header="emotion, Usage, pixels")
    assert found(data) == [("data/fer2013.csv#0", "surprise", "train")]
    assert read_image("data/fer2013.csv#0", tmp_path)[..., 0].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "pixels", ["1 2 3", "", "1 2 3 256", "1 2 3 -1", "1 2 3 x", "1 2 3 4.5"], ids=lambda text: text or "none"
)
def test_a_row_with_wrong_pixels_is_unreadable(data: Path, tmp_path: Path, pixels: str) -> None:
    table(data, f"0,{pixels},Training")
    with pytest.raises(ImageUndecodable, match="CSV"):
        read_image("data/fer2013.csv#0", tmp_path)


def test_an_edited_table_is_indexed_again(data: Path, tmp_path: Path) -> None:
    table(data, "0,9,Training", "0,5,Training")
    assert read_image("data/fer2013.csv#1", tmp_path)[0, 0, 0] == 5
    table(data, "0,100,Training", "0,6,Training")
    assert read_image("data/fer2013.csv#1", tmp_path)[0, 0, 0] == 6


@pytest.mark.parametrize("emotion", ["7", "-1", "happy", ""])
def test_an_unknown_emotion_is_named_with_its_row(data: Path, emotion: str) -> None:
    table(data, "0,1,Training", f"{emotion},1,Training")
    with pytest.raises(DataError, match="row 1 has the emotion"):
        found(data)


def test_a_table_of_other_columns_is_refused(data: Path) -> None:
    table(data, "a,b", header="name,score")
    with pytest.raises(DataError, match="its columns are 'name, score'"):
        found(data)


def test_files_are_read_upright_with_their_facts(data: Path, tmp_path: Path) -> None:
    path = write_picture(data / "happy/a.jpg", textured(1, width=40, height=30), orientation=6)
    original = read_original("data/happy/a.jpg", tmp_path)
    assert original.image.shape == (40, 30, 3)
    assert (original.mode, original.orientation, original.bytes) == ("RGB", 6, path.stat().st_size)
    assert np.array_equal(read_image("data/happy/a.jpg", tmp_path), original.image)


def test_a_broken_file_is_an_image_error(data: Path, tmp_path: Path) -> None:
    touch(data, "happy/a.jpg")
    with pytest.raises(ImageError):
        read_image("data/happy/a.jpg", tmp_path)


@pytest.mark.parametrize("names", [(), ("README.md",), (".gitignore",)], ids=str)
def test_nothing_says_what_was_expected(data: Path, names: tuple[str, ...]) -> None:
    touch(data, *names)
    with pytest.raises(NoImages, match=r"data/<class>/\*.*dvc pull"):
        found(data)


def test_no_folder_at_all_is_the_same(tmp_path: Path) -> None:
    with pytest.raises(NoImages):
        find_sources(tmp_path / "data", root=tmp_path)


def test_files_beside_the_classes_are_passed_over_and_named_but_not_the_attributes(data: Path) -> None:
    touch(data, "happy/a.png", "attributes.csv", "notes.txt")
    assert [item.path for item in find_sources(data, root=data.parent).passed_over] == ["data/notes.txt"]


def test_an_empty_class_folder_is_not_passed_over(data: Path) -> None:
    touch(data, "happy/a.png")
    (data / "sad").mkdir()
    with pytest.raises(ClassMissing, match="data/sad holds no file"):
        found(data)


def test_two_layouts_at_once_are_refused(data: Path) -> None:
    table(data, "0,1,Training")
    touch(data, "happy/a.png")
    with pytest.raises(DataError, match="expected one layout"):
        found(data)


def test_a_strange_folder_beside_the_splits_is_refused(data: Path) -> None:
    touch(data, "train/happy/a.png", "neutral/a.png")
    with pytest.raises(SplitsUnclear, match="'neutral' beside 'train'"):
        found(data)


def test_splits_without_train_are_refused(data: Path) -> None:
    touch(data, "test/happy/a.png")
    with pytest.raises(SplitsUnclear, match="nothing to train on"):
        found(data)


def test_a_name_that_is_not_utf8_is_refused(data: Path) -> None:
    touch(data, "happy/a.png")
    (data / "happy/a.png").rename(os.fsdecode(os.fsencode(data) + b"/happy/\xff.png"))
    with pytest.raises(DataError, match="name is not UTF-8"):
        found(data)
