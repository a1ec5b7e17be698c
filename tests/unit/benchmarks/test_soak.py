"""The verdict on a soak test, computed by hand, and its records."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from benchmarks.soak import processes
from benchmarks.soak.load import LoadPlan, command_of
from benchmarks.soak.plot import write_memory
from benchmarks.soak.processes import ANSWERING, DRIFT, FETCHING, OTHER, REGISTRY, role_of
from benchmarks.soak.record import (
    Counts,
    Interval,
    LoadLine,
    ProcessUse,
    Sample,
    SoakRecord,
    Swap,
    Tail,
    VersionChange,
    as_line,
    from_line,
    read_record,
)
from benchmarks.soak.table import tables
from benchmarks.soak.verdict import failures, files, foreign_versions, memory, threads, windows
from pipelines.core.records import write_record

BEGUN = 1000.0
EVERY_S = 60.0


def use(role: str, mib: float, *, open_files: int = 20) -> ProcessUse:
    return ProcessUse(role=role, memory_mib=mib, files=open_files, threads=8)


PICTURES, FEEDBACK = Counts(sent=100, answered=97, refused=3), Counts(sent=5, answered=5)
VERSIONS = MappingProxyType({"1": 60, "2": 37})


def interval(
    *, pictures: Counts = PICTURES, feedback: Counts = FEEDBACK, versions: Mapping[str, int] = VERSIONS
) -> Interval:
    return Interval(
        ended_at=BEGUN + 10,
        pictures=pictures,
        feedback=feedback,
        versions=dict(versions),
        p50_ms=5.0,
        p99_ms=20.0,
        late_p99_ms=0.5,
    )


def record(*, seconds: float = 3600.0, growth: float = 0.0, odd: float = 0.0) -> SoakRecord:
    """A sample every 10 s.

    Args:
        seconds: duration.
        growth: share that the answering process grows by over the run, in a straight line.
        odd: MiB that it has more in odd minutes, as while the larger model is live.
    """
    samples = []
    for number in range(int(seconds / 10)):
        at = 10.0 * number + 5
        mib = 200 * (1 + growth * at / seconds) + (odd if int(at / 60) % 2 else 0.0)
        others = [use(DRIFT, 300)] if number % 30 == 0 else []
        samples.append(
            Sample(
                at=BEGUN + at,
                processes=[use(ANSWERING, mib), use(REGISTRY, 150), *others],
                rows=number,
                database_bytes=1000 * number,
            )
        )
    return SoakRecord(
        asked_s=3600.0,
        begun_at=BEGUN,
        ended_at=BEGUN + seconds,
        every_s=EVERY_S,
        share=0.7,
        capacity_per_s=100.0,
        rate_per_s=70.0,
        detector="yunet",
        models=["`lenet`", "`vgg`"],
        versions=["1", "2"],
        samples=samples,
        intervals=[interval(), interval(versions={"2": 97})],
        swaps=[Swap(version="2", moved_at=BEGUN + 60, named_s=3.0, answered_s=3.5)],
        tail=Tail(p50_ms=5.0, p99_ms=20.0, p999_ms=30.0),
        rows_before=10,
        rows_after=204,
        feedback_rows=10,
        service_ended=False,
    )


def test_the_windows_of_an_hour_are_the_tenth_after_the_first_sixth_and_the_last_tenth() -> None:
    spans = windows(3600, every_s=60)
    assert spans.first == pytest.approx((600, 960))
    assert spans.last == pytest.approx((3240, 3600))
    assert spans.are_apart


@pytest.mark.parametrize(
    ("seconds", "every_s", "length"), [(600, 60, 120), (3600, 50, 400), (1200, 60, 120), (60, 6, 12)]
)
def test_a_window_is_a_tenth_rounded_up_to_whole_pairs_of_promotions(
    seconds: float, every_s: float, length: float
) -> None:
    first, last = windows(seconds, every_s=every_s).first, windows(seconds, every_s=every_s).last
    assert first[1] - first[0] == pytest.approx(length)
    assert last[1] - last[0] == pytest.approx(length)


def test_growth_is_the_mean_of_the_last_window_over_that_of_the_first() -> None:
    answering, registry = memory(record(growth=0.1))
    # A straight line: the means are its values in the middle of the windows, after 780 and 3,420 s.
    before, after = 200 * (1 + 0.1 * 780 / 3600), 200 * (1 + 0.1 * 3420 / 3600)
    assert (answering.role, registry.role) == (ANSWERING, REGISTRY)
    assert answering.before == pytest.approx(before)
    assert answering.after == pytest.approx(after)
    assert answering.growth == pytest.approx(after / before - 1)
    assert registry.growth == 0


def test_a_larger_model_that_is_live_in_turn_is_not_growth() -> None:
    # Of 600 s the tenth is one minute: with the smaller model before and the larger one after it.
    assert memory(record(seconds=600, odd=50.0))[0].growth == pytest.approx(0)


def test_only_growth_beyond_the_limit_fails() -> None:
    # From 780 to 3,420 s: 0.05 / (2640 / 3600 - 0.05 × 780 / 3600) of the line is 5 %.
    limit = 0.05 / (2640 / 3600 - 0.05 * 780 / 3600)
    assert list(failures(record(growth=limit - 1e-4))) == []
    (failure,) = failures(record(growth=limit + 1e-4))
    assert ANSWERING in failure


def test_a_run_shorter_than_both_windows_is_not_judged() -> None:
    short = record(seconds=240, growth=9.0)
    assert memory(short) == files(short) == threads(short) == []
    assert list(failures(short)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"intervals": [interval(pictures=Counts(sent=1, lost=1))]},
        {"intervals": [interval(feedback=Counts(sent=1, lost=1))]},
        {"intervals": [interval(versions={"1": 5, "3": 1})]},
        {"service_ended": True},
        {"swaps": [Swap(version="2", moved_at=BEGUN, named_s=None, answered_s=1.0)]},
        {"swaps": [Swap(version="2", moved_at=BEGUN, named_s=1.0, answered_s=None)]},
    ],
    ids=["picture lost", "feedback lost", "third version", "service ended", "not named", "not answered"],
)
def test_each_fault_alone_fails(changes: dict[str, object]) -> None:
    assert list(failures(record())) == []
    assert len(list(failures(replace(record(), **changes)))) == 1  # type: ignore[arg-type]


def test_refusals_are_not_losses_and_versions_are_counted() -> None:
    third = replace(record(), intervals=[interval(versions={"1": 5, "3": 2}), interval(versions={"": 1})])
    assert foreign_versions(third) == 3
    assert record().pictures == Counts(sent=200, answered=194, refused=6)
    assert record().feedback == Counts(sent=10, answered=10)


def row(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_tables_have_the_counts_and_the_growth() -> None:
    text = "\n".join(tables(record(growth=0.1)))
    assert row(text, "pictures") == ["pictures", "200", "194", "6", "0"]
    assert row(text, "requests lost")[1:] == ["0", "0", "met"]
    assert row(text, f"memory, process that {ANSWERING}")[1:] == ["+7.2%", "≤ +5%", "**missed**"]
    # 194 were answered and 6 refused, and the database has 204 - 10 more.
    assert row(text, "observations written")[1:] == ["194", "194 to 200", "met"]
    assert "Shorter than asked" not in text
    assert "(yunet)" in text


@pytest.mark.parametrize(
    ("rows_after", "verdict"), [(203, "**missed**"), (204, "met"), (210, "met"), (211, "**missed**")]
)
def test_each_answer_is_written_and_of_the_refused_pictures_some(rows_after: int, verdict: str) -> None:
    text = "\n".join(tables(replace(record(), rows_after=rows_after)))
    assert row(text, "observations written")[-1] == verdict


def test_a_run_that_was_ended_early_says_so_first() -> None:
    text = "\n".join(tables(record(seconds=240)))
    assert text.startswith("**Shorter than asked: 240 of 3600 s.**")


def test_nothing_at_all_can_be_shown() -> None:
    empty = replace(record(seconds=1), samples=[], intervals=[], swaps=[])
    assert row("\n".join(tables(empty)), "pictures")[1:] == ["0", "0", "0", "0"]


@pytest.mark.parametrize(
    "line",
    [
        interval(),
        VersionChange(version="2", at=12.5),
        Tail(p50_ms=1.0, p99_ms=2.0, p999_ms=3.0),
    ],
    ids=lambda line: type(line).__name__,
)
def test_a_line_of_the_generator_is_read_as_it_was_written(line: LoadLine) -> None:
    assert from_line(as_line(line)) == line


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_record(tmp_path / "record.json", record())
    assert read_record(tmp_path / "record.json") == record()


def test_the_plot_has_a_line_for_each_process_and_a_mark_for_each_promotion(tmp_path: Path) -> None:
    path = tmp_path / "images/soak.svg"
    write_memory(record(), path)
    text = path.read_text(encoding="utf-8")
    for role in (ANSWERING, REGISTRY, DRIFT):
        assert f"process that {role}" in text
    assert "var(--card)" in text


@pytest.mark.parametrize(
    ("command", "role"),
    [
        (["python", "-m", "serving"], ANSWERING),
        (
            ["python", "-m", "serving.processes", "5", "1", "serving.model_sync.poller", "models:/x@y"],
            REGISTRY,
        ),
        (["python", "-m", "serving.processes", "5", "1", "serving.model_sync.registry_process"], FETCHING),
        (["python", "-m", "serving.processes", "5", "1", "serving.drift.compute", "folder"], DRIFT),
        (["python", "-m", "serving.processes", "5", "1", "serving.signatures"], OTHER),
        ([], OTHER),
    ],
    ids=["first", "registry", "fetching", "drift", "another child", "zombie"],
)
def test_a_process_is_named_by_its_command(command: list[str], role: str) -> None:
    assert role_of(command) == role


def test_use_is_that_of_the_process_and_all_its_children() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(input(0))'])"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        # The child's question: it runs.
        assert parent.stdout is not None
        assert parent.stdout.read(1) == b"0"
        found = list(processes.uses(parent.pid))
        parent.communicate(b"\n")
    assert len(found) == 2
    for one in found:
        assert one.memory_mib > 1
        # Standard input, output and error at least.
        assert one.files >= 3
        assert one.threads >= 1
    assert list(processes.uses(parent.pid)) == []


def test_the_generator_gets_every_setting_on_its_command_line() -> None:
    plan = LoadPlan(
        url="http://127.0.0.1:1",
        pictures=[Path("a"), Path("b")],
        rate=2.5,
        seed=4,
        interval_s=5.0,
    )
    command = command_of(plan)
    assert command[:3] == [sys.executable, "-m", "benchmarks.soak.load"]
    assert command[3:6] == ["http://127.0.0.1:1", "a", "b"]
    assert set(command[6:]) == {"--rate=2.5", "--seed=4", "--interval-s=5.0"}
