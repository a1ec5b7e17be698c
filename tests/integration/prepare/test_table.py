"""`python -m pipelines.prepare` on `fer2013.csv` as other programs write it."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.pictures import pillow_rgb
from tests.support.prepare_project import Originals

SIDE = 16
USAGES = ("Training", "PublicTest", "PrivateTest")


@pytest.fixture
def project(tmp_path: Path, repository: Path) -> Originals:
    (tmp_path / "data").mkdir()
    return Originals.create(tmp_path, repository, group_pattern=None, color="gray", image_size_px=SIDE)


def picture(number: int) -> np.ndarray:
    """Gray, uint8 [16, 16]; it contains numbers of one, two and three digits."""
    return np.random.default_rng(number).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)


def rows(*, usages: tuple[str, ...] = USAGES, pixels: str = " ") -> list[tuple[str, str, str]]:
    """One row for each usage and two emotions: label, pixels, usage."""
    pairs = [(emotion, usage) for usage in usages for emotion in ("0", "3")]
    return [
        (emotion, pixels.join(map(str, picture(number).ravel())), usage)
        for number, (emotion, usage) in enumerate(pairs)
    ]


def write(project: Originals, lines: list[str], *, encoding: str = "utf-8", mark: bytes = b"") -> None:
    (project.root / "data/fer2013.csv").write_bytes(mark + ("\n".join(lines) + "\n").encode(encoding))


def joined(separator: str, *, quote: Callable[[str], str] = str, pixels: str = " ") -> list[str]:
    """The table of `rows` as lines."""
    header = separator.join(quote(name) for name in ("emotion", "pixels", "Usage"))
    return [header, *(separator.join(map(quote, row)) for row in rows(pixels=pixels))]


def quoted(cell: str) -> str:
    return f'"{cell}"'


def wrapped(cell: str) -> str:
    """Quoted, and broken into lines where it is long."""
    words = cell.split(" ")
    return quoted("\n".join(" ".join(words[start : start + SIDE]) for start in range(0, len(words), SIDE)))


TABLES = {
    "plain": joined(","),
    "quoted": joined(",", quote=quoted),
    "quoted-commas": joined(",", quote=quoted, pixels=","),
    "quoted-list": joined(",", quote=quoted, pixels=", "),
    "quoted-lines": joined(",", quote=wrapped),
    "semicolons": joined(";"),
    "semicolons-commas": joined(";", pixels=","),
    "tabs": joined("\t", quote=quoted),
    "bars": joined("|"),
    "carriage-returns": [f"{line}\r" for line in joined(",", quote=quoted)],
}


@pytest.mark.parametrize(
    ("form", "mark"),
    [*((form, b"") for form in TABLES), ("plain", codecs.BOM_UTF8), ("quoted", codecs.BOM_UTF8)],
    ids=lambda value: value if isinstance(value, str) else "mark" if value else "",
)
def test_every_form_of_the_table_gives_the_same_pictures(project: Originals, form: str, mark: bytes) -> None:
    write(project, TABLES[form], mark=mark)
    project.run()
    found = project.manifest
    assert list(found.sort_values("source")["split"]) == ["train", "train", "val", "val", "test", "test"]
    assert found.loc["data/fer2013.csv#3", "label"] == "happy"
    for number in range(6):
        row = found.loc[f"data/fer2013.csv#{number}"]
        prepared = pillow_rgb((project.root / "prepared" / row["path"]).read_bytes())
        assert (prepared == picture(number)[..., None]).all()


@pytest.mark.parametrize(
    "usages",
    [("train", "val", "test"), ("training", "publictest", "privatetest"), ("TRAIN", "Validation", "testing")],
    ids=lambda usages: usages[0],
)
@pytest.mark.parametrize("column", ["Usage", "split"])
def test_splits_under_other_names_are_kept(
    project: Originals, usages: tuple[str, str, str], column: str
) -> None:
    write(project, [f"emotion,pixels,{column}", *(",".join(row) for row in rows(usages=usages))])
    project.run()
    assert list(project.manifest["split"].sort_index()) == ["train", "train", "val", "val", "test", "test"]


def test_unknown_splits_are_named(project: Originals) -> None:
    write(
        project,
        ["emotion,pixels,Usage", *(",".join(row) for row in rows(usages=("train", "fold1", "fold2")))],
    )
    message = project.refused()
    assert "'fold1', 'fold2'" in message
    assert "row 2" in message


def test_a_table_without_training_pictures_is_refused(project: Originals) -> None:
    write(project, ["emotion,pixels,Usage", *(",".join(row) for row in rows(usages=("val", "test")))])
    assert "nothing to train on" in project.refused()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_utf16_is_refused_with_the_cure(project: Originals, encoding: str) -> None:
    write(project, TABLES["plain"], encoding=encoding)
    assert "iconv -f UTF-16 -t UTF-8 fer2013.csv" in project.refused()


@pytest.mark.parametrize("label", ["\u00b2", "\u0663", "7", "-1", "3.0", "happy", "", "9" * 5000], ids=ascii)
def test_a_label_that_is_not_one_of_seven_digits_is_named_with_its_row(
    project: Originals, label: str
) -> None:
    lines = TABLES["plain"].copy()
    lines[3] = label + lines[3][1:]
    write(project, lines)
    message = project.refused()
    assert "row 2" in message
    assert repr(label[:40]) in message


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["emotion,pixels,Usage", '0,"1 2 3 4,Training', "0,1 2 3 4,Training"], "row 0"),
        (["emotion,pixels,Usage", "0,1,2,3,4,Training"], "6 cells, expected 3"),
        (["emotion,pixels,Usage,split", "0,1 2 3 4,train,train"], "usage and split"),
        (["Gefühl,Punkte", "0,1 2 3 4"], "emotion,pixels,Usage"),
        (["0,1 2 3 4,Training"], "emotion,pixels,Usage"),
    ],
    ids=["open-quote", "cells", "columns", "foreign", "no-header"],
)
def test_a_damaged_table_is_one_line_that_says_where(project: Originals, lines: list[str], said: str) -> None:
    write(project, lines, encoding="latin-1")
    assert said in project.refused()


def test_an_archive_is_refused(project: Originals) -> None:
    (project.root / "data/fer2013.csv").write_bytes(b"PK\x03\x04" + bytes(40))
    assert "ZIP" in project.refused()
