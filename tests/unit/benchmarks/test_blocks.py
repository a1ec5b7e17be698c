"""Rewritten parts of a page."""

from pathlib import Path

import pytest

from benchmarks.blocks import BlockMissing, rewrite, with_block

PAGE = """# Page

Written by hand.

<!-- benchmark:one -->
old
<!-- /benchmark:one -->

Between.

<!-- benchmark:two -->
<!-- /benchmark:two -->
"""


def test_only_the_named_part_changes() -> None:
    page = with_block(PAGE, "one", "new\n\nlines")
    assert page == PAGE.replace("\nold\n", "\nnew\n\nlines\n")


def test_an_empty_part_is_filled() -> None:
    page = with_block(PAGE, "two", "figures")
    assert page.endswith("<!-- benchmark:two -->\nfigures\n<!-- /benchmark:two -->\n")


def test_the_same_content_twice_changes_nothing_more() -> None:
    once = with_block(PAGE, "one", "new")
    assert with_block(once, "one", "new") == once


def test_backslashes_stay_what_they_are() -> None:
    assert r"\1 \g<2> \n" in with_block(PAGE, "one", r"\1 \g<2> \n")


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("nothing here\n", 0),
        ("<!-- benchmark:one -->\nnot closed\n", 0),
        (PAGE + PAGE, 2),
        (PAGE.replace("benchmark:one", "benchmark:one-more"), 0),
    ],
    ids=["absent", "open", "twice", "longer name"],
)
def test_a_page_without_exactly_one_such_part_is_refused(page: str, found: int) -> None:
    with pytest.raises(BlockMissing, match=rf"got {found} parts named 'one', expected one"):
        with_block(page, "one", "new")


def test_a_refused_file_stays_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text(PAGE, encoding="utf-8")
    with pytest.raises(BlockMissing):
        rewrite(file, "three", "new")
    assert file.read_text(encoding="utf-8") == PAGE
    assert list(tmp_path.iterdir()) == [file]
