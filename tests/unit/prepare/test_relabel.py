"""`data/relabel.csv`: which labels count, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.core.errors import DataError
from pipelines.core.source_images import Source
from pipelines.prepare.relabel import relabel

SOURCES = [
    Source(locator="data/happy/a.jpg", label="happy", split=None),
    Source(locator="data/happy/b.jpg", label="happy", split="train"),
    Source(locator="data/fer2013.csv#12", label="sad", split="test"),
]


def written(tmp_path: Path, text: str) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    (data / "relabel.csv").write_text(text, encoding="utf-8")
    return data


def test_without_the_file_nothing_changes(tmp_path: Path) -> None:
    found = relabel(SOURCES, tmp_path / "data", root=tmp_path)
    assert (found.sources, found.changed, found.left_out) == (tuple(SOURCES), 0, ())


def test_labels_change_and_pictures_are_left_out(tmp_path: Path) -> None:
    data = written(
        tmp_path, "file,label,given\nhappy/b.jpg,sad,happy\nhappy/a.jpg,,happy\nfer2013.csv#12, sad ,x\n"
    )
    found = relabel(SOURCES, data, root=tmp_path)
    assert [(one.locator, one.label, one.split) for one in found.sources] == [
        ("data/happy/b.jpg", "sad", "train"),
        ("data/fer2013.csv#12", "sad", "test"),
    ]
    assert found.left_out == (SOURCES[0],)
    assert found.changed == 1  # the third has the label that it had


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("file,label\nhappy/c.jpg,sad\n", "data/happy/c.jpg"),
        ("file,label\nhappy/a.jpg,sad\nhappy/a.jpg,\n", "line 3"),
        ("path,label\nhappy/a.jpg,sad\n", "columns file and label"),
        ("file,label\nhappy/a.jpg\n", "line 2"),
        ("file,label\nhappy/a.jpg,s\x07ad\n", "U+0007"),
    ],
    ids=["no such picture", "twice", "columns", "no label", "class name"],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(DataError) as caught:
        relabel(SOURCES, written(tmp_path, text), root=tmp_path)
    assert "relabel.csv" in str(caught.value)
    assert named in str(caught.value)
