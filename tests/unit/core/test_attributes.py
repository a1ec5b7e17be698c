"""`data/attributes.csv`: what is read, and what is refused with line and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.core.attributes import MAX_VALUES, read_attributes
from pipelines.core.errors import DataError


def written(folder: Path, text: str) -> Path:
    path = folder / "attributes.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_the_file_there_are_none(tmp_path: Path) -> None:
    assert read_attributes(tmp_path / "attributes.csv") is None


def test_by_group_as_spreadsheets_write_it(tmp_path: Path) -> None:
    """A byte order mark, Windows' line ends, quotes, spaces and an empty line change nothing."""
    found = read_attributes(
        written(tmp_path, '\ufeffgroup, skin ,"hat"\r\nid0, dark,"a ""cap"""\r\n\r\nid1,,none\r\n')
    )
    assert found is not None
    assert found.columns == ("skin", "hat")
    files = ["data/happy/id1_x.jpg", "data/sad/id0_x.jpg", "data/sad/id2_x.jpg"]
    groups = ["id1", "id0", "id2"]
    assert found.of("skin", files=files, groups=groups) == ["", "dark", ""]
    assert found.of("hat", files=files, groups=groups) == ["none", 'a "cap"', ""]


def test_by_file_relative_to_the_data(tmp_path: Path) -> None:
    found = read_attributes(written(tmp_path, "file,place\nhappy/a.jpg,outdoors\n"))
    assert found is not None
    files = ["data/happy/a.jpg", "data/happy/b.jpg"]
    assert found.of("place", files=files, groups=["g", "g"]) == ["outdoors", ""]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "no line"),
        ("person,skin\n", "'person'"),
        ("group\nid0\n", "different names"),
        ("group,skin,skin\n", "different names"),
        ("group,,skin\n", "different names"),
        ("group,skin\nid0,dark\nid0,light\n", "line 3"),
        ("group,skin\nid0\n", "line 2 has 1 values, expected 2"),
        (
            "group,age\n" + "".join(f"id{i},{i}\n" for i in range(MAX_VALUES + 1)),
            f"{MAX_VALUES + 1} different",
        ),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_attributes(path)
    assert str(path) in str(caught.value)
    assert named in str(caught.value)
    assert "expected" in str(caught.value)


def test_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "attributes.csv"
    path.write_bytes("group,skin\nid0,café\n".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        read_attributes(path)
