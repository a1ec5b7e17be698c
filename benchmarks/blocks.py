"""Rewrites marked parts of a Markdown file; the text around them stays.

A part is between two comments with its name: `<!-- benchmark:peers -->` and `<!-- /benchmark:peers -->`.
"""

from __future__ import annotations

import re
from pathlib import Path


class BlockMissing(ValueError):
    """The file does not have exactly one part of this name."""

    def __init__(self, name: str, found: int) -> None:
        super().__init__(
            f"got {found} parts named {name!r}, expected one: put {_mark(name)} and {_mark(name, end=True)} "
            "on lines of their own where it shall stand"
        )


def with_block(text: str, name: str, content: str) -> str:
    """The text with that part's content replaced.

    Raises:
        BlockMissing: there is no such part, more than one, or one that is not closed.
    """
    begin, end = re.escape(_mark(name)), re.escape(_mark(name, end=True))
    pattern = re.compile(rf"^({begin}\n).*?^({end})$", re.DOTALL | re.MULTILINE)
    found = len(pattern.findall(text))
    if found != 1:
        raise BlockMissing(name, found)
    # A function, since a replacement's backslashes would mean something.
    return pattern.sub(lambda match: f"{match[1]}{content.strip()}\n{match[2]}", text)


def rewrite(file: Path, name: str, content: str) -> None:
    """Replace one part of a file; as a whole or not at all.

    Raises:
        BlockMissing: as `with_block`.
    """
    text = with_block(file.read_text(encoding="utf-8"), name, content)
    temporary = file.with_suffix(".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(file)


def _mark(name: str, *, end: bool = False) -> str:
    return f"<!-- {'/' if end else ''}benchmark:{name} -->"
