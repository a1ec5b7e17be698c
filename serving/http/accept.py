"""Which of the offered media types a client likes best (RFC 9110, 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence

from serving.errors import NotAcceptable


def preferred(accept: str, *, offered: Sequence[str]) -> str:
    """Choose.

    Args:
        accept: the header; empty accepts everything.
        offered: media types; the first one wins a tie.

    Raises:
        NotAcceptable: none of them is accepted.
    """
    if not accept.strip():
        return offered[0]
    ranges = [_parsed(item) for item in accept.split(",")]
    best = max(offered, key=lambda kind: _quality(kind, ranges))
    if _quality(best, ranges) <= 0:
        raise NotAcceptable(got=accept[:80], offered=" and ".join(offered))
    return best


def _parsed(item: str) -> tuple[str, float]:
    kind, *parameters = (part.strip().lower() for part in item.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return kind, float(value)
            except ValueError:
                return kind, 0.0
    return kind, 1.0


def _quality(kind: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Of the most specific range that covers `kind`."""
    for pattern in (kind, kind.partition("/")[0] + "/*", "*/*"):
        for got, quality in ranges:
            if got == pattern:
                return quality
    return 0.0
