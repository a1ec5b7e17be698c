"""Agreement between labellers: Krippendorff's own examples, and what several labels amount to."""

from __future__ import annotations

import pytest

from serving.observations.consensus import NOT_A_FACE, SKIP, Consensus, consensus_of, krippendorff_alpha

# K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011): the observers' rows, `.` is missing.
BINARY = ("0100000010", "1110010000")
NOMINAL = ("aabbdcccedda", "babbbccceddd")
MISSING = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")


def units(rows: tuple[str, ...]) -> list[list[str]]:
    assert len({len(row) for row in rows}) == 1
    return [[value for value in column if value != "."] for column in zip(*rows, strict=True)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # By hand: 20 values, 14 zeros and 6 ones; 4 of 10 pairs differ, which are 8 ordered ones.
        pytest.param(BINARY, 1 - 19 * 8 / (2 * 14 * 6), id="A-binary-two-observers"),
        pytest.param(NOMINAL, 0.692, id="B-nominal-two-observers"),
        # (39·32 − 344) / (39·40 − 344): the matrix's diagonal sums to 32, Σ n_c (n_c − 1) to 344.
        pytest.param(MISSING, 904 / 1216, id="C-four-observers-missing-values"),
    ],
)
def test_alpha_is_that_of_the_paper(rows: tuple[str, ...], expected: float) -> None:
    assert krippendorff_alpha(units(rows)) == pytest.approx(expected, abs=5e-4)


def test_the_paper_rounds_its_examples_as_it_prints_them() -> None:
    assert [round(krippendorff_alpha(units(rows)) or 0, 3) for rows in (BINARY, NOMINAL, MISSING)] == [
        0.095,
        0.692,
        0.743,
    ]


def test_alpha_of_perfect_agreement_is_1_and_of_opposite_labels_below_0() -> None:
    assert krippendorff_alpha([["a", "a"], ["b", "b"]]) == 1
    # By hand: every pair differs, D_o = 1; D_e = 2·2·2 / (4·3) = 2/3.
    assert krippendorff_alpha([["a", "b"], ["b", "a"]]) == pytest.approx(-0.5)


@pytest.mark.parametrize(
    "labels", [[], [["a"], ["b"]], [["a", "a"], ["a", "a", "a"]]], ids=["none", "single", "one-value"]
)
def test_alpha_is_undefined_without_pairs_or_with_one_value(labels: list[list[str]]) -> None:
    assert krippendorff_alpha(labels) is None


@pytest.mark.parametrize(
    ("labels", "needed", "expected"),
    [
        ([], 2, Consensus(status="open")),
        (["sad"], 2, Consensus(status="open")),
        (["sad", SKIP], 2, Consensus(status="open")),
        (["sad", SKIP, "sad"], 2, Consensus(status="agreed", label="sad")),
        (["sad", "fear"], 2, Consensus(status="open")),
        (["sad", "fear", "sad"], 2, Consensus(status="agreed", label="sad")),
        (["sad", "fear", "angry"], 2, Consensus(status="disputed")),
        (["sad", "fear", SKIP, SKIP], 2, Consensus(status="open")),
        (["sad", "fear", "sad", "fear"], 2, Consensus(status="disputed")),
        ([NOT_A_FACE, NOT_A_FACE], 2, Consensus(status="agreed", label=NOT_A_FACE)),
        (["sad"], 1, Consensus(status="agreed", label="sad")),
        (["sad", "fear"], 1, Consensus(status="disputed")),
        (["sad", "sad", "fear", "fear"], 3, Consensus(status="open")),
        (["sad", "sad", "fear", "fear", "angry"], 3, Consensus(status="disputed")),
        ([SKIP, SKIP, SKIP, SKIP], 2, Consensus(status="open")),
    ],
)
def test_enough_equal_labels_decide_and_too_many_different_ones_are_disputed(
    labels: list[str], needed: int, expected: Consensus
) -> None:
    assert consensus_of(labels, needed=needed) == expected
