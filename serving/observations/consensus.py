"""What several people's labels of one picture amount to, and how well people agree.

A picture is agreed on once `needed` people gave it the same label and no other label has as many. It is
disputed after 2·needed − 1 labels without that: of two labels, one would have reached `needed` by then, so
more labels rarely help, and a person should look at the picture.

Chance-corrected agreement is Krippendorff's alpha for nominal data with missing values: K. Krippendorff,
"Computing Krippendorff's Alpha-Reliability", 2011, sections A–C.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

NOT_A_FACE = "not-a-face"
"""Label of a picture that shows no face: an agreed one keeps the picture out of the data."""
SKIP = "skip"
"""Answer of a person who cannot tell; it is not a label, and the picture is not offered to them again."""

ConsensusStatus = Literal["open", "agreed", "disputed"]
"""`open`: more labels are needed."""


@dataclass(frozen=True, kw_only=True)
class Consensus:
    """Result of the labels of one picture."""

    status: ConsensusStatus
    label: str | None = None
    """The agreed label; None without agreement."""


def max_labels(needed: int) -> int:
    """Return the number of labels after which a picture without agreement is disputed."""
    return 2 * needed - 1


def consensus_of(labels: Iterable[str], *, needed: int) -> Consensus:
    """Decide about one picture.

    Args:
        labels: one of each person, `SKIP` excluded or not.
        needed: number of equal labels that decide, at least 1.
    """
    votes = Counter(label for label in labels if label != SKIP)
    ranked = votes.most_common(2)
    if ranked and ranked[0][1] >= needed and (len(ranked) == 1 or ranked[1][1] < ranked[0][1]):
        return Consensus(status="agreed", label=ranked[0][0])
    return Consensus(status="disputed" if votes.total() >= max_labels(needed) else "open")


def krippendorff_alpha(units: Iterable[Sequence[str]]) -> float | None:
    """Return Krippendorff's alpha, nominal: 1 is perfect agreement, 0 that of chance.

    Args:
        units: of each picture the labels that it got, in any order; fewer than two do not count.

    Returns:
        alpha, at most 1; None if no picture has two labels or all labels are the same, where it is undefined.
    """
    pairable = [Counter(values) for values in units if len(values) > 1]
    totals: Counter[str] = sum(pairable, Counter())
    count = totals.total()
    # Pairs of different values, ordered: n² − Σ n_c². The paper's coincidences weigh a unit by 1 / (m − 1).
    observed = sum(_different_pairs(unit) / (unit.total() - 1) for unit in pairable)
    expected = _different_pairs(totals)
    return 1 - (count - 1) * observed / expected if expected else None


def _different_pairs(values: Counter[str]) -> int:
    return values.total() ** 2 - sum(number**2 for number in values.values())
