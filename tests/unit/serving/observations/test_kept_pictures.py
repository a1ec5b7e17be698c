from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving.errors import ImageFormatUnknown
from serving.observations.images import PictureFolder
from tests.support.observing import NOW, id_of
from tests.support.pictures import encoded, textured

DAY = 86_400.0


def a_picture(format: str = "PNG") -> bytes:
    return encoded(textured(1), format)


@pytest.mark.parametrize(("fraction", "low", "high"), [(0.0, 0, 0), (0.1, 0.08, 0.12), (1.0, 1, 1)])
def test_a_fraction_is_kept(fraction: float, low: float, high: float, tmp_path: Path) -> None:
    folder = PictureFolder(tmp_path, fraction=fraction)
    kept = sum(folder.keeps(id_of(number)) for number in range(5000)) / 5000
    assert low <= kept <= high


def test_every_process_chooses_the_same_pictures(tmp_path: Path) -> None:
    one, other = (PictureFolder(tmp_path / name, fraction=0.5) for name in "ab")
    assert [one.keeps(id_of(n)) for n in range(50)] == [other.keeps(id_of(n)) for n in range(50)]


@pytest.mark.parametrize(
    ("format", "suffix"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("BMP", "bmp")]
)
def test_a_picture_is_kept_as_it_was_sent_for_its_owner_only(
    format: str, suffix: str, tmp_path: Path
) -> None:
    folder = PictureFolder(tmp_path / "pictures", fraction=1)
    data = a_picture(format)
    name = folder.write(data, id="00aa", time=NOW)
    assert name == f"{datetime.fromtimestamp(NOW, UTC):%Y-%m-%d}/00aa.{suffix}"
    path = tmp_path / "pictures" / name
    assert path.read_bytes() == folder.read(name) == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_other_files_are_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ImageFormatUnknown):
        PictureFolder(tmp_path, fraction=1).write(b"#!/bin/sh", id="00aa", time=NOW)
    assert list(tmp_path.iterdir()) == []


def test_days_that_are_over_are_deleted_whole(tmp_path: Path) -> None:
    folder = PictureFolder(tmp_path, fraction=1)
    old = folder.write(a_picture(), id="00", time=NOW - 3 * DAY)
    edge = folder.write(a_picture(), id="01", time=NOW - 2 * DAY)
    (tmp_path / "notes").mkdir()
    assert folder.purge(NOW - 2 * DAY) == 1
    assert not (tmp_path / old).exists()
    assert (tmp_path / edge).exists()
    assert (tmp_path / "notes").exists()


def test_deleting_what_is_gone_is_not_an_error(tmp_path: Path) -> None:
    folder = PictureFolder(tmp_path / "never", fraction=0)
    folder.delete(None)
    folder.delete("2027-01-15/00.jpg")
    assert folder.purge(NOW) == 0
