"""Recognise the names that data sets give their splits, such as `Train`, `testing` and `PublicTest`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection

from pipelines.core.errors import SplitsUnclear

# FER2013's PublicTest ranked its challenge's teams, PrivateTest decided (Goodfellow et al., 2013).
_WORDS = {
    "train": ("train", "training", "trn"),
    "val": (
        "val",
        "valid",
        "validation",
        "validate",
        "dev",
        "development",
        "eval",
        "evaluation",
        "publictest",
    ),
    "test": ("test", "testing", "tst", "holdout", "privatetest"),
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}
_UNMISTAKABLE = frozenset({"train", "training", "val", "validation", "test", "publictest", "privatetest"})
"""Words that are never classes; `valid` and `invalid` may be classes."""
_FILLING = re.compile(r"[\s_.-]+")
_ENDINGS = ("set", "data", "images", "split")
# The shorter half of what is in use, for messages.
_EXAMPLES = "train (or training), val (or validation, PublicTest), test (or testing, PrivateTest)"


def split_named(word: str) -> str | None:
    """`train`, `val` or `test` where `word` is a name for it, in any case; None where it is not."""
    return _SPLIT_OF.get(_plain(word))


def splits_named(words: Collection[str], *, where: str) -> dict[str, str]:
    """The split of every word; empty when the words are names of classes rather than of splits.

    Args:
        words: names of folders, or values of a column, all different.
        where: what holds them, for messages.

    Raises:
        SplitsUnclear: splits and other words are mixed, two words mean one split, or none is for training.
    """
    known = {word: split for word in words if (split := split_named(word))}
    others = sorted(set(words) - known.keys())
    if not known or (others and not any(_plain(word) in _UNMISTAKABLE for word in known)):
        return {}
    if others:
        raise SplitsUnclear(
            where=where,
            got=f"{', '.join(map(repr, others))} beside {', '.join(map(repr, sorted(known)))}",
            expected=f"names of splits only, {_EXAMPLES}, or none of them",
        )
    _check_complete(known, where=where)
    return known


def _check_complete(known: dict[str, str], *, where: str) -> None:
    words: defaultdict[str, list[str]] = defaultdict(list)
    for word, split in sorted(known.items()):
        words[split].append(word)
    for split, several in words.items():
        if len(several) > 1:
            raise SplitsUnclear(
                where=where,
                got=f"{' and '.join(map(repr, several))}, which all mean {split!r}",
                expected="one name for each split",
            )
    if "train" not in words:
        raise SplitsUnclear(
            where=where,
            got=f"{', '.join(map(repr, sorted(known)))} but nothing to train on",
            expected=f"{_EXAMPLES}; `train` cannot be missing",
        )


def _plain(word: str) -> str:
    """Without case, separators and an ending such as `_set`."""
    plain = _FILLING.sub("", word.casefold())
    for ending in _ENDINGS:
        if plain.removesuffix(ending) in _SPLIT_OF:
            return plain.removesuffix(ending)
    return plain
