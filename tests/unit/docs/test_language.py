"""Sources, guides and the page avoid the expressions of `banned_words.txt`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LIST = Path(__file__).with_name("banned_words.txt")
PATTERNS = (
    "*.py",
    "*.md",
    "*.yaml",
    "*.yml",
    "*.html",
    "*.j2",
    "*.js",
    "*.css",
    "*.ipynb",
    "*.sh",
    "*.conf",
    "*.toml",
)

ALLOWED = {
    "tests/unit/docs/test_language.py": "holds examples of what is found",
}
"""Files that are not read, with the reason."""


def expression(text: str) -> str:
    """The regular expression of a line of the list."""
    words = text.strip().replace(" ", r"[\s_#*/]+")
    return rf"(?<![a-z])(?:{words})(?![a-z])"


def either(expressions: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(expressions), re.IGNORECASE)


@pytest.fixture(scope="module")
def banned() -> re.Pattern[str]:
    lines = [line for line in LIST.read_text().splitlines() if line and line[0] not in "#+"]
    return either([expression(line.split(" -> ")[0]) for line in lines])


@pytest.fixture(scope="module")
def exceptions() -> re.Pattern[str]:
    return either([expression(line[1:]) for line in LIST.read_text().splitlines() if line.startswith("+")])


def found(text: str, banned: re.Pattern[str], exceptions: re.Pattern[str]) -> list[tuple[int, str]]:
    """Line number and text of every banned expression."""
    kept = exceptions.sub(lambda match: re.sub(r"\S", "-", match[0]), text)
    return [(kept.count("\n", 0, match.start()) + 1, match[0]) for match in banned.finditer(kept)]


def test_no_file_holds_a_banned_expression(banned: re.Pattern[str], exceptions: re.Pattern[str]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *PATTERNS], cwd=ROOT, check=True, capture_output=True, text=True
    )
    names = [name for name in listed.stdout.split("\0") if name and name not in ALLOWED]
    assert len(names) > 500
    assert [
        f"{name}:{line}: {text!r}"
        for name in names
        for line, text in found((ROOT / name).read_text(), banned, exceptions)
    ] == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("# A fox\n# is no\n# dog", [2]),
        ("there is no dog", []),
        ("there\n    is no dog", []),
        ("it is no longer there", []),
        ("def test_the_dog_is_no_fox(): ...", [1]),
        ("told = 1\nunTold = 2\nTOLD_BY = 3", [1, 3]),
        ("# so\n# many", [1]),
        ("nobodys_told", [1]),
        ("wherever it was stolen", []),
    ],
)
def test_expressions_are_found_across_lines_and_in_names(
    banned: re.Pattern[str], exceptions: re.Pattern[str], text: str, lines: list[int]
) -> None:
    assert [line for line, _ in found(text, banned, exceptions)] == lines


def test_every_allowed_file_exists_and_needs_it(banned: re.Pattern[str], exceptions: re.Pattern[str]) -> None:
    for name in ALLOWED:
        assert found((ROOT / name).read_text(), banned, exceptions), name
