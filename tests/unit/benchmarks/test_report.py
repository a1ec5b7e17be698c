"""The report over all benchmarks: its page, its parts, its tables."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from benchmarks.blocks import with_block

ROOT = Path(__file__).parents[3]
MODEL = {
    "architecture": "vgg",
    "twin": None,
    "accuracy": 0.76,
    "accuracy_low": 0.714,
    "accuracy_high": 0.809,
    "macro_f1": 0.761,
    "macro_f1_low": 0.712,
    "macro_f1_high": 0.808,
    "p50_ms": 2.761,
    "size_mb": 7.9,
    "speed_up": None,
}
INT8 = MODEL | {
    "architecture": "vgg-int8",
    "twin": "vgg",
    "accuracy": 0.763,
    "p50_ms": 0.912,
    "size_mb": 2.02,
    "speed_up": 3.1,
}
OTHER = MODEL | {"architecture": "vit", "accuracy": 0.14}


def test_the_page_has_every_part_once() -> None:
    page = (ROOT / report.DOCS).read_text(encoding="utf-8")
    names = ["machine", "models", *(part.name for part in report.PARTS), *report.OWN_COMMANDS]
    for name in names:
        with_block(page, name, "")
    assert sorted(re.findall(r"<!-- benchmark:(\w+) -->", page)) == sorted(names)


def test_the_page_shows_plots_that_are_there() -> None:
    page = (ROOT / report.DOCS).read_text(encoding="utf-8")
    shown = re.findall(r"\((images/benchmark-\w+\.svg)\)", page)
    # The soak test's block shows its own plot once it is recorded.
    assert set(shown) >= {"images/benchmark-models.svg", "images/benchmark-serving.svg"}
    assert all((ROOT / "docs" / name).is_file() for name in shown)


@pytest.mark.parametrize(
    "module", [*(part.command[0] for part in report.PARTS), *report.OWN_COMMANDS.values()]
)
def test_every_part_names_a_module_that_is_there(module: str) -> None:
    assert importlib.util.find_spec(module) is not None


def test_a_note_says_command_commit_load_and_duration() -> None:
    note = report.noted(["benchmarks.scale", "--quick"], "1a2b3c4d5e", loads=(0.24, 1.96), seconds=132.0)
    assert note == (
        "`python -m benchmarks.scale --quick` at 1a2b3c4d5e, 2.2 min; "
        "load of the machine before 0.2, after 2.0."
    )


def test_a_note_without_git_names_no_commit() -> None:
    assert report.noted(["x"], "", loads=(0, 0), seconds=0).startswith("`python -m x`, 0.0 min;")


def test_headings_of_a_benchmark_are_left_out() -> None:
    assert report.shown("\n## Title\n\n| a |\n|---|\n", markdown=True) == "| a |\n|---|"


def test_plain_output_stands_in_a_block_with_its_columns() -> None:
    text = "        NumPy\nlenet   1.0\n"
    assert report.shown(text, markdown=False) == "```\n        NumPy\nlenet   1.0\n```"


def test_an_architecture_is_one_row_with_its_int8_variant() -> None:
    rows: list[dict[str, Any]] = [INT8, MODEL, OTHER]
    lines = list(report.model_table(rows))[2:]
    assert lines == [
        "| `vgg` | 0.760 (0.71–0.81) | 0.761 (0.71–0.81) | 2.76 | 0.763 | 0.91 | 3.10 | 7.9 → 2.0 |",
        "| `vit` | 0.140 (0.71–0.81) | 0.761 (0.71–0.81) | 2.76 | – | – | – | 7.9 |",
    ]
