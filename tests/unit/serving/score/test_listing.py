"""Which files of a folder are scored, and in which order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving.score.listing import Listing, files_in


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_order_is_that_of_the_whole_paths(tmp_path: Path) -> None:
    names = ["b.png", "a/z.png", "a-1.png", "a0/x.png", "a/b/c.png", "Z.png", "ä.png"]
    touched(tmp_path, *names)
    assert list(files_in(tmp_path)) == sorted(names)


def test_hidden_ones_and_the_result_are_left_out_and_links_to_folders_not_followed(tmp_path: Path) -> None:
    touched(tmp_path, "a.png", ".hidden.png", ".git/x", "out.parquet", "b/c.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "b" / "circle").symlink_to(tmp_path)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    found = list(files_in(tmp_path, without=tmp_path / "b" / ".." / "out.parquet"))
    assert found == ["a.png", "b/c.png", "link.png"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(files_in(tmp_path / "nowhere"))


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_a_list_comes_back_in_pieces_and_from_any_of_them_on(tmp_path: Path, size: int) -> None:
    # A line break, a byte that is not UTF-8, and one name longer than a read.
    names = ["a\nb", os.fsdecode(b"\xff"), "c", "d" * 3_000_000, "e", "f", "g"]
    listing = Listing.write(tmp_path / "files", iter(names))
    assert listing.count == 7
    pieces = [names[at : at + size] for at in range(0, 7, size)]
    for skip in range(len(pieces) + 1):
        assert list(listing.chunks(size, skip=skip)) == pieces[skip:]


def test_another_list_has_another_digest(tmp_path: Path) -> None:
    one, two = (Listing.write(tmp_path / "files", iter(names)) for names in (["a", "bc"], ["ab", "c"]))
    assert one.sha256 != two.sha256
