"""`python -m pipelines.labels` on evaluated models: table, sheet, and that `prepare` takes the table."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from pipelines.core import paths
from pipelines.core.errors import OptionError
from pipelines.core.manifest import read_manifest
from pipelines.core.source_images import Source
from pipelines.labels.command import COLUMNS, judge_labels, write_table
from pipelines.prepare.relabel import relabel
from tests.support.pictures import textured, write_picture
from tests.support.report_inputs import SELECTED, write_report_inputs

REPOSITORY = Path(__file__).parents[3]
FLIPPED = 12


@pytest.fixture(scope="module")
def repository_of_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with evaluated models, and some test labels that contradict certain answers."""
    root = tmp_path_factory.mktemp("labels")
    write_report_inputs(root, REPOSITORY / "params.yaml")
    path = root / paths.evaluation_predictions(SELECTED)
    table = pd.read_parquet(path)
    columns = [str(name) for name in table if str(name).startswith("p_")]
    classes = [name.removeprefix("p_") for name in columns]
    # The first pictures are answered with certainty, and wrongly by their labels.
    for index in range(FLIPPED):
        label = classes[(classes.index(table["label"].iloc[index]) + 1) % len(classes)]
        table.loc[table.index[index], columns] = 0.001
        table.loc[table.index[index], f"p_{label}"] = 1 - 0.001 * (len(classes) - 1)
    table.to_parquet(path, index=False)
    for number, source in enumerate(read_manifest(root / paths.MANIFEST)["source"]):
        write_picture(root / source, textured(number))
    return root


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_most_certain_contradictions_come_first(repository_of_labels: Path, tmp_path: Path) -> None:
    judged = judge_labels(repository_of_labels, SELECTED)
    count = write_table(tmp_path / "relabel.csv", judged)
    found = rows(tmp_path / "relabel.csv")
    assert len(found) == count
    assert tuple(found[0]) == COLUMNS
    expected = set(judged.files[:FLIPPED])
    assert {row["file"] for row in found[:FLIPPED]} == expected
    for row in found:
        assert row["label"] != row["given"]
        assert float(row["probability"]) > float(row["probability_of_given"])


def test_prepare_takes_the_table_as_it_is(repository_of_labels: Path, tmp_path: Path) -> None:
    judged = judge_labels(repository_of_labels, SELECTED)
    (tmp_path / "data").mkdir()
    count = write_table(tmp_path / "data/relabel.csv", judged)
    sources = [
        Source(locator=locator, label=judged.answers.classes[given], split=None)
        for locator, given in zip(judged.sources, judged.answers.actual, strict=True)
    ]
    corrected = relabel(sources, tmp_path / "data", root=tmp_path)
    assert corrected.changed == count
    assert not corrected.left_out


def test_the_command_writes_table_and_sheet(repository_of_labels: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.labels", "--sheet", "10"],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        cwd=repository_of_labels, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"judged by {SELECTED}" in done.stdout
    sheet = cv2.imread(str(repository_of_labels / paths.LABELS / "sheet.png"))
    assert sheet is not None
    assert np.unique(sheet).size > 100, "the sheet shows no picture"
    assert rows(repository_of_labels / paths.LABELS / "relabel.csv")


def test_a_model_that_was_not_evaluated_is_named(repository_of_labels: Path) -> None:
    with pytest.raises(OptionError) as caught:
        judge_labels(repository_of_labels, "resnet101")
    assert "resnet101" in str(caught.value)
