"""The messages that the guide quotes are those that the code writes, and each kind of error is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("pipelines", "serving", "flows")
ERRORS = {"pipelines": "pipelines/core/errors.py", "flows": "flows/errors.py"}
GAP = "…"
# Messages of other programs, recognised by the word before the quotation.
FOREIGN = re.compile(
    r"^\| (DVC: |TensorFlow's |`database is locked`|`drift` at once|`Killed`|`No interpreter)"
)
SHORTEST = 12
"""Characters below which a piece of text says nothing."""


def written(node: ast.AST) -> str | None:
    """The text of a string or an f-string, values as `GAP`; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
    return None


@pytest.fixture(scope="module")
def root() -> Path:
    return Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def sources(root: Path) -> dict[Path, ast.Module]:
    files = [file for package in PACKAGES for file in (root / package).rglob("*.py")]
    return {file: ast.parse(file.read_text()) for file in files}


@pytest.fixture(scope="module")
def texts(root: Path, sources: dict[Path, ast.Module]) -> str:
    """Every string of the code, a line each, and what `make` says."""
    found = [text for tree in sources.values() for node in ast.walk(tree) if (text := written(node))]
    return "\n".join([*found, (root / "Makefile").read_text()])


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs/troubleshooting.md").read_text()


def quoted(page: str) -> Iterator[str]:
    """What stands in backquotes in the first column of the tables."""
    for line in page.splitlines():
        if line.startswith("| ") and not line.startswith("| it says") and not FOREIGN.match(line):
            yield from (text for _, text in re.findall(r"(``?)(.+?)\1(?!`)", line.split(" | ")[0]))


def pieces(text: str) -> list[str]:
    """What a message has between its values; one is put together from several texts at these marks."""
    found = (piece.strip(" ;,:()") for piece in re.split(rf"{GAP}|: |; |, expected ", text))
    return [piece for piece in found if len(piece) >= SHORTEST]


def test_every_quoted_message_is_written_by_the_code(page: str, texts: str) -> None:
    unknown = [
        (message, piece) for message in quoted(page) for piece in pieces(message) if piece not in texts
    ]
    assert not unknown


def test_every_kind_of_pipeline_and_flow_error_is_explained(
    page: str, root: Path, sources: dict[Path, ast.Module]
) -> None:
    shown = " ".join(page.split())
    silent = []
    for package in ("pipelines", "flows"):
        for node in sources[root / ERRORS[package]].body:
            if not isinstance(node, ast.ClassDef) or node.name in NOT_A_READERS:
                continue
            messages = [pieces(text) for part in ast.walk(node) if (text := _message(part))]
            if any(messages) and not any(piece in shown for found in messages for piece in found):
                silent.append((node.name, messages))
    assert not silent


NOT_A_READERS = {
    # Of `python -m sample_faces`, which a reader of the guides does not call; it points to its --help.
    "SampleError",
    # Its text is that of the part that failed.
    "DriftUnfinished",
}


def _message(node: ast.AST) -> str | None:
    """The message that `super().__init__(…)` is given."""
    if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "super().__init__" and node.args):
        return None
    return written(node.args[0])
