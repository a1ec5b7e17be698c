"""Which requests belong to a share: the same ones in every process, on every machine, after every restart.

chosen("key app", 0.1)      # True for a tenth of all subjects
parse_share("10%")          # 0.1
"""

from __future__ import annotations

import hashlib
import re

# Makes the share independent of other draws from the same names.
_PERSON = b"mien-canary"
_BITS = 64
_NUMBER = re.compile(r"(?P<number>\d+(\.\d*)?|\.\d+)\s*(?P<percent>%?)")


def is_in_share(subject: str, share: float) -> bool:
    """Whether a subject belongs to a share; one that does also belongs to every larger share.

    Args:
        subject: a client or a request; equal ones get the same result.
        share: of all subjects, in [0, 1].
    """
    data = subject.encode("utf-8", "surrogatepass")
    draw = int.from_bytes(hashlib.blake2b(data, digest_size=_BITS // 8, person=_PERSON).digest(), "big")
    return draw < share * 2.0**_BITS


def parse_share(value: str | float) -> float:
    """Read a share: `10%` or `0.1`.

    Raises:
        ValueError: neither, or not between 0 and 100 %.
    """
    share = _number(value) if isinstance(value, str) else value
    if share is not None and 0 <= share <= 1:
        return share
    raise ValueError("expected a share from 0 to 1, written like 10% or 0.1")


def _number(text: str) -> float | None:
    match = _NUMBER.fullmatch(text.strip())
    return None if match is None else float(match["number"]) / (100 if match["percent"] else 1)


def format_percent(share: float) -> str:
    """A share as people read it."""
    return f"{100 * share:g}%"
