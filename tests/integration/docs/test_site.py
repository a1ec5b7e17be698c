"""The guides as a site: built strictly, whole without a network; a broken link fails."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

# What a browser fetches by itself; a link (<a href>) only leads somewhere.
FETCHED = {
    ("link", "href"),
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("source", "srcset"),
    ("video", "src"),
    ("object", "data"),
}
NOT_FETCHED = {"canonical", "prev", "next", "alternate"}
LARGEST_PICTURES_MB = 3.0


def build(source: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a checkout into a folder."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=source,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = Path(__file__).resolve().parents[3]
    folder = tmp_path_factory.mktemp("site")
    done = build(root, folder)
    assert done.returncode == 0, done.stderr
    return folder


class Fetches(HTMLParser):
    """Collects the addresses that a browser fetches when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and NOT_FETCHED & set((given.get("rel") or "").split()):
            return
        self.found += [value for name, value in attrs if (tag, name) in FETCHED and value]


def fetched(page: Path) -> list[str]:
    parser = Fetches()
    parser.feed(page.read_text())
    return parser.found


def pages(site: Path) -> Iterator[Path]:
    yield from site.rglob("*.html")


def test_every_guide_is_a_page(site: Path, repository: Path) -> None:
    written = {
        page.relative_to(repository / "docs").with_suffix("") for page in repository.glob("docs/**/*.md")
    }
    names = {path.with_name("index") if path.name == "README" else path for path in written}
    assert names <= {page.relative_to(site).with_suffix("") for page in pages(site)}


def test_nothing_is_fetched_from_another_host(site: Path) -> None:
    elsewhere = {
        (page.name, address) for page in pages(site) for address in fetched(page) if urlsplit(address).netloc
    }
    assert not elsewhere


def test_styles_fetch_nothing_from_another_host(site: Path) -> None:
    for style in site.rglob("*.css"):
        addresses = re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", style.read_text())
        assert not [a or b for a, b in addresses if urlsplit(a or b).netloc], style.name


def test_every_fetched_file_exists(site: Path) -> None:
    missing = {
        (page.name, address)
        for page in pages(site)
        # The page for a wrong address is asked for under any, so its addresses begin at the root.
        for address in fetched(page)
        if page.name != "404.html"
        and not address.startswith("data:")
        and not (page.parent / unquote(urlsplit(address).path)).is_file()
    }
    assert not missing


def test_pictures_of_the_guides_are_all_shown_and_small(repository: Path) -> None:
    pictures = list((repository / "docs/images").iterdir())
    text = "".join(page.read_text() for page in (repository / "README.md", *repository.glob("docs/**/*.md")))
    assert not [picture.name for picture in pictures if f"images/{picture.name}" not in text]
    assert sum(picture.stat().st_size for picture in pictures) < LARGEST_PICTURES_MB * 1e6


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[gone](no-such-page.md)", "no-such-page.md"),
        ("[gone](serving.md#no-such-heading)", "no-such-heading"),
        ("![gone](images/no-such-picture.png)", "no-such-picture.png"),
        ("[outside](../README.md)", "README.md"),
    ],
    ids=["page", "heading", "picture", "outside-docs"],
)
def test_a_broken_link_fails_the_build(repository: Path, tmp_path: Path, text: str, complaint: str) -> None:
    source = tmp_path / "source"
    (source / "docs").mkdir(parents=True)
    shutil.copy(repository / "docs/serving.md", source / "docs")
    (source / "docs/index.md").write_text(f"# Start\n\n[The service](serving.md)\n\n{text}\n")
    configured = (repository / "mkdocs.yml").read_text()
    # Everything but the pages that are not there.
    head = configured[: configured.index("\nnav:")]
    # Its own links lead to pages that are not in this small site.
    (source / "docs/serving.md").write_text("# The service\n")
    (source / "mkdocs.yml").write_text(head + "\n")
    done = build(source, tmp_path / "site")
    assert done.returncode != 0
    assert complaint in done.stderr
