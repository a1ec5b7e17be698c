"""What a request costs, measured on the real service and a real database."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cost.measure import storage_cost
from benchmarks.cost.record import read_costs
from tests.support.onnx_models import write_model

PAGE = "before\n\n<!-- benchmark:cost -->\n<!-- /benchmark:cost -->\n"


def test_an_observation_takes_what_its_columns_take_and_some_more() -> None:
    storage = storage_cost(rows=2_000, pictures=5)
    # Seven float32, 128 float16, an id of 32 characters in the row and in an index of its own, sha256 as 64
    # characters, 14 numbers of up to 8 bytes; the rest is indexes and half-filled pages.
    columns = 7 * 4 + 128 * 2 + 2 * 32 + 64
    assert columns < storage.row_bytes < 3 * columns
    # The name of a picture: a day, a slash, 32 characters, `.jpg`.
    assert storage.row_with_picture_bytes - storage.row_bytes == pytest.approx(47, abs=30)
    assert storage.rows_per_s > 0


def test_the_command_measures_a_model_and_rewrites_its_part(tmp_path: Path) -> None:
    model = write_model(tmp_path / "small.onnx")
    page, figures = tmp_path / "page.md", tmp_path / "costs.json"
    page.write_text(PAGE, encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.cost", str(model), "--seconds", "1"]
    subprocess.run([*command, "--docs", str(page), "--json", str(figures)], check=True, capture_output=True)
    costs = read_costs(figures)
    (request,) = costs.requests
    assert request.network_ms is None
    # Faces are searched in addition.
    assert 0 < request.whole_ms < request.searched_ms
    assert 10 < request.answering_mib < request.all_mib
    measured = page.read_text(encoding="utf-8")
    assert "`small.onnx`" in measured

    # Shown again from the figures: the same tables, without the note of the run.
    render = [sys.executable, "-m", "benchmarks.cost", "--render", str(figures), "--docs", str(page)]
    subprocess.run(render, check=True, capture_output=True)
    shown = page.read_text(encoding="utf-8").removeprefix("before\n\n<!-- benchmark:cost -->\n")
    assert measured.endswith(shown)
    assert json.loads(figures.read_text())["form_bytes"] == costs.form_bytes > 10_000
