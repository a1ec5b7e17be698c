"""What a rate of requests needs, against values computed by hand, and how the tables show it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.blocks import with_block
from benchmarks.cost.__main__ import DOCS, NAME
from benchmarks.cost.capacity import Capacity, capacity, per_core
from benchmarks.cost.record import Costs, RequestCost, StorageCost, read_costs
from benchmarks.cost.table import tables
from pipelines.core.records import write_record

ROOT = Path(__file__).parents[3]
REQUEST = RequestCost(
    title="mobilenet_v2",
    network_ms=1.37,
    whole_ms=3.5,
    searched_ms=14.0,
    answering_mib=250.0,
    all_mib=480.0,
    detector="yunet",
)
STORAGE = StorageCost(
    rows=10_000, row_bytes=600.0, row_with_picture_bytes=700.0, picture_bytes=16_384.0, rows_per_s=40_000.0
)
COSTS = Costs(
    requests=[REQUEST, replace(REQUEST, title="vit", network_ms=None)], storage=STORAGE, form_bytes=16_000
)


def needed(per_s: float, *, rows_per_s: float = 40_000.0) -> Capacity:
    storage = replace(STORAGE, rows_per_s=rows_per_s)
    return capacity(per_s, request=REQUEST, storage=storage, form_bytes=16_000)


def test_ten_requests_a_second_need_a_fifth_of_a_core() -> None:
    need = needed(10)
    # 10 × 14 ms = 0.14 s of processor time in a second, in cores that are busy for 0.7 of theirs.
    assert need.cores == pytest.approx(0.2)
    assert need.replicas == 1
    assert need.memory_gib == pytest.approx(0.46875)  # 480 / 1024
    assert need.databases == 0
    assert need.gb_per_day == pytest.approx(0.5184)  # 10 × 86,400 × 600
    assert need.gb_kept == pytest.approx(46.656)  # × 90
    assert need.pictures_gb == pytest.approx(4.246732800)  # 8,640 pictures a day × 16,384 × 30
    assert need.in_gbit_per_s == pytest.approx(0.00128)  # 10 × 16,000 × 8
    # 0.14 of two cores.
    assert need.bottleneck == "none: 7% of one replica's cores"


def test_a_thousand_requests_a_second_need_ten_replicas_and_one_postgresql() -> None:
    need = needed(1_000)
    assert need.cores == pytest.approx(20)
    assert need.replicas == 10
    assert need.memory_gib == pytest.approx(4.6875)
    assert need.databases == 1
    assert need.gb_per_day == pytest.approx(51.84)
    assert need.bottleneck.startswith("cores: 10 replicas")


def test_a_hundred_thousand_are_more_than_one_postgresql_writes() -> None:
    need = needed(100_000)
    assert need.cores == pytest.approx(2_000)
    assert need.replicas == 1_000
    assert need.memory_gib == pytest.approx(468.75)
    # 100,000 ÷ 28,000 = 3.57
    assert need.postgres_share == pytest.approx(3.5714, abs=1e-4)
    assert need.databases == 4
    assert need.gb_per_day == pytest.approx(5_184)
    assert need.gb_kept == pytest.approx(466_560)
    assert need.in_gbit_per_s == pytest.approx(12.8)
    assert need.bottleneck.startswith("database: 3.6 times")


def test_sqlite_is_enough_for_one_replica_only_as_long_as_it_is_fast_enough() -> None:
    # 100 requests a second: exactly the 2 cores of one replica.
    assert needed(100).replicas == 1
    assert needed(100).databases == 0
    assert needed(100, rows_per_s=99).databases == 1
    assert needed(101).replicas == 2
    assert needed(101).databases == 1


def test_a_core_answers_what_its_busy_share_allows() -> None:
    assert per_core(REQUEST) == pytest.approx(50)  # 700 ms ÷ 14 ms


def cells(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} ")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_the_tables_have_each_figure_and_set_reckoned_ones_in_italics() -> None:
    text = "\n".join(tables(COSTS))
    assert cells(text, "`mobilenet_v2`") == ["1.37", "3.50", "14.00", "250", "480", "*50*"]
    assert cells(text, "`vit`")[0] == "–"
    assert cells(text, "cores")[:3] == ["*0.20*", "*20.0*", "*2,000*"]
    assert cells(text, "replicas of 2 cores")[:3] == ["*1*", "*10*", "*1,000*"]
    assert cells(text, "proxy: Gbit/s received")[:3] == ["*0.0013*", "*0.13*", "*12.8*"]
    assert cells(text, "GB a day")[:3] == ["*0.52*", "*51.8*", "*5,184*"]
    assert cells(text, "bytes in SQLite, indexes included") == ["600"]
    for line in text.splitlines():
        assert line == "" or line.count("|") >= 3


def test_every_row_of_a_table_has_the_cells_of_its_head() -> None:
    for table in "\n".join(tables(COSTS)).split("\n\n"):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_the_figures_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_record(tmp_path / "costs.json", COSTS)
    assert read_costs(tmp_path / "costs.json") == COSTS


def test_the_page_has_the_part_once() -> None:
    page = (ROOT / DOCS).read_text(encoding="utf-8")
    with_block(page, NAME, "")
    assert re.findall(r"<!-- benchmark:(\w+) -->", page) == [NAME]
