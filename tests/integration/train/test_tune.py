"""`python -m pipelines.tune` on drawn pictures: trials, pruning, resumption, and the command it ends with."""

from __future__ import annotations

import os
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.core.params import AugmentationParams, ModelParams, load_params
from pipelines.tune import command_of, tunables, with_values
from tests.support.training_project import REPOSITORY, make_project


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.tune", "lenet", *arguments],
        cwd=root,
        env=os.environ
        | {"PYTHONPATH": str(REPOSITORY), "MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db"}
        | {"MIEN_SCRATCH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def trials(root: Path) -> list[tuple[int, str]]:
    """Number and state of all trials, read from the study's own table."""
    with sqlite3.connect(root / ".mien" / "tuning.db") as connection:
        return connection.execute("SELECT number, state FROM trials ORDER BY number").fetchall()


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A project after two calls, and what they printed."""
    root = make_project(tmp_path_factory.mktemp("tune") / "project", models__lenet__epochs=2)
    first = run(root, "--minutes", "5", "--trials", "2")
    assert first.returncode == 0, first.stderr
    with sqlite3.connect(root / ".mien" / "tuning.db") as connection:
        # What a killed process leaves.
        connection.execute("UPDATE trials SET state = 'RUNNING' WHERE number = 1")
    second = run(root, "--minutes", "5", "--trials", "2")
    assert second.returncode == 0, second.stderr
    return root, first.stdout, second.stdout


def test_a_second_call_continues_the_study(searched: tuple[Path, str, str]) -> None:
    root, _, second = searched
    states = dict(trials(root))
    assert sorted(states) == [0, 1, 2, 3]
    assert states[1] == "FAIL"
    assert "best of 4 trials" in second


def test_the_first_trial_has_the_present_values(searched: tuple[Path, str, str]) -> None:
    root, _, _ = searched
    with sqlite3.connect(root / ".mien" / "tuning.db") as connection:
        rows = connection.execute(
            "SELECT param_name, param_value FROM trial_params JOIN trials USING (trial_id) WHERE number = 0"
        ).fetchall()
    values = dict(rows)
    assert values["training.weight_decay"] == pytest.approx(0.005)
    assert values["augmentation.zoom"] == pytest.approx(0.1)
    assert len(values) == len(tunables(load_params(root / "params.yaml"), "lenet"))


def test_the_last_line_sets_parameters_that_are_valid(searched: tuple[Path, str, str]) -> None:
    root, _, second = searched
    words = shlex.split(second.splitlines()[-1])
    assert words[:3] == ["dvc", "exp", "run"]
    pairs = [word.split("=") for word in words[4::2]]
    params = load_params(root / "params.yaml")
    ranges = tunables(params, "lenet")
    assert {name for name, _ in pairs} == set(ranges)
    for name, value in pairs:
        assert ranges[name].low * 0.99 <= float(value) <= ranges[name].high * 1.01
    changed = with_values(params, {name: float(value) for name, value in pairs})
    AugmentationParams.model_validate(changed.augmentation.model_dump())
    ModelParams.model_validate(changed.model("lenet").model_dump())


def test_every_trial_is_a_run(searched: tuple[Path, str, str]) -> None:
    root, _, _ = searched
    with sqlite3.connect(root / "mlflow.db") as connection:
        names = [
            name
            for (name,) in connection.execute(
                "SELECT runs.name FROM runs JOIN experiments USING (experiment_id) "
                "WHERE experiments.name LIKE '%-tuning' ORDER BY runs.name"
            )
        ]
    assert names == [f"lenet trial {number}" for number in range(4)]


def test_the_time_ends_a_trial(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", models__lenet__epochs=1000)
    done = run(root, "--minutes", "0.05")
    assert done.returncode == 0, done.stderr
    assert "no trial was finished" in done.stdout
    assert [state for _, state in trials(root)] == ["PRUNED"]


def test_a_value_keeps_three_digits() -> None:
    assert command_of({"models.vgg.learning_rate": 0.00123456, "head.dropout": 0.5}) == (
        "dvc exp run -S models.vgg.learning_rate=0.00123 -S head.dropout=0.5"
    )
