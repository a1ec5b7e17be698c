"""Figures of several rounds as tables, and whether the goals are met."""

from dataclasses import asdict

import pytest

from benchmarks.peers.results import Memory, Row, as_rows, goals, spread, tables


def row(
    title: str,
    per_s: list[float],
    *,
    kind: str = "complete",
    connections: int = 8,
    ours: float = 300,
    sent: str = "body",
) -> Row:
    return Row(
        title=title,
        kind=kind,
        sent=sent,
        connections=connections,
        per_s=per_s,
        p50_ms=[1.0, 2.0, 30.0],
        p99_ms=[4.0, 5.0, 6.0],
        cpu_ms=[1.25, 1.5, 1.75],
        lead=[ours / speed for speed in per_s],
    )


def verdicts(rows: list[Row]) -> list[str]:
    return [line.strip(" |").split(" | ")[-1] for line in goals(rows)]


def test_a_spread_is_median_least_and_most() -> None:
    assert spread([3.0, 1.0, 1.5]) == "1.50 (1.00–3.00)"


def test_a_row_shows_medians_and_the_lead() -> None:
    lines = list(tables([row("BentoML", [100, 150, 200])], []))
    assert "**8 clients**" in lines
    assert "| BentoML | 150 | 2.00 (1.50–3.00) | 2.0 | 5.0 | 1.50 |" in lines


def test_this_service_leads_itself_by_one() -> None:
    assert "| mien | 300 | 1 | 2.0 | 5.0 | 1.50 |" in list(
        tables([row("mien", [300, 300, 300], kind="ours")], [])
    )


def test_memory_is_shown_idle_and_loaded() -> None:
    assert "| mien | 200 | 251 |" in list(tables([], [Memory(title="mien", idle=200.4, loaded=250.6)]))


@pytest.mark.parametrize(
    ("connections", "speed", "verdict"),
    [
        (1, 299, "met"),
        (1, 301, "**missed**"),
        (8, 200, "met"),
        (8, 201, "**missed**"),
        (32, 250, "**missed**"),
    ],
)
def test_more_is_wanted_with_more_clients(connections: int, speed: float, verdict: str) -> None:
    assert verdicts([row("MLServer", [speed] * 3, connections=connections)]) == [verdict]


def test_the_best_complete_server_is_the_measure() -> None:
    rows = [row("LitServe", [250] * 3), row("MLServer", [100] * 3)]
    (line,) = goals(rows)
    assert "LitServe" in line
    assert "**missed**" in line


def test_the_bare_handler_is_compared_with_its_own_goal() -> None:
    rows = [row("MLServer", [100] * 3), row("bare", [299] * 3, kind="bare")]
    assert verdicts(rows) == ["met", "met"]


def test_forms_are_not_compared_with_bodies() -> None:
    assert verdicts([row("bare, form", [900] * 3, kind="bare", sent="form")]) == []


def test_results_outlive_a_file() -> None:
    rows = [row("MLServer", [1.0, 2.0, 3.0])]
    assert as_rows({"rows": [asdict(one) for one in rows]}) == rows
