"""Timing models in rotation, and reading what was timed into the comparison."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipelines import compare
from pipelines.core.errors import ResultCorrupt
from pipelines.core.io import write_json
from pipelines.core.records import write_record
from pipelines.core.results import Evaluation, Latencies
from pipelines.evaluate.latency import _shuffled, measure, read_pictures
from pipelines.machine import this_machine
from pipelines.metrics import METRICS
from pipelines.model.predict import open_model
from tests.support.files import read_json
from tests.support.onnx_models import make_contract, write_model
from tests.support.originals import write_originals, write_prepared
from tests.support.results import evaluation
from tests.support.timings import TIMING, times

COMMANDS = {"latency": "evaluate.latency"}
"""Stages whose module is not called like them."""
CHECKOUT = Path(__file__).parents[3]
NAMES = ("lenet", "lenet-int8", "vgg", "vgg-int8")
ARCHITECTURES = ("lenet", "vgg")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder as `evaluate` leaves it, with two architectures."""
    dataset = write_prepared(tmp_path, write_originals(tmp_path, per_class=3))
    for name in NAMES:
        side = 16 if "lenet" in name else 64
        contract = make_contract(architecture=name, dataset=dataset.dataset, side=side)
        write_model(tmp_path / f"onnx/{name}/model.onnx", contract=contract)
        write_record(tmp_path / f"evaluations/{name}/metrics.json", _metrics(name))
    params = yaml.safe_load((CHECKOUT / "params.yaml").read_text())
    write_record(tmp_path / "reports/machine.json", this_machine())
    params |= {"architectures": list(ARCHITECTURES), "latency": {"rounds": 4}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return tmp_path


def _metrics(name: str) -> Evaluation:
    value = 0.7 if name == "vgg" else 0.6
    scores: dict[str, Any] = dict.fromkeys(METRICS, value)
    return evaluation(name, classes={"happy": value}, **scores)


def _stage(module: str, root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"pipelines.{COMMANDS.get(module, module)}", *arguments],
        cwd=root,
        env={"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )


def test_every_model_is_timed_alone_and_in_batches(project: Path) -> None:
    done = _stage("latency", project)
    assert done.returncode == 0, done.stderr
    found = read_json(project / "reports/latency.json")
    assert (found["threads"], found["rounds"]) == (1, 4)
    assert list(found["models"]) == list(NAMES)
    for name, timed in found["models"].items():
        assert set(timed) == {"batch_1", "batch_16"}
        for quantiles in timed.values():
            assert 0 < quantiles["p50_ms"] <= quantiles["p95_ms"]
            assert ("speed_up" in quantiles) == name.endswith("-int8")
    assert [line.split(":")[0] for line in done.stdout.splitlines()[:-1]] == list(NAMES)


def test_figures_bear_machine_date_and_calibration(project: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    assert _stage("latency", project).returncode == 0
    found = read_json(project / "reports/latency.json")["timing"]
    assert found["machine"] == read_json(project / "reports/machine.json")
    assert before <= datetime.fromisoformat(found["measured_at"]) <= datetime.now(UTC)
    assert found["calibration_ms"] > 0
    compared = _stage("compare", project)
    assert read_json(project / "reports/comparison.json")["timing"] == found
    said = " ".join(compared.stdout.split())
    assert found["machine"]["cpu"] in said
    assert f"on {found['measured_at'][:10]}, calibration {found['calibration_ms']:.2f} ms" in said


@pytest.mark.parametrize(
    ("changed", "value"), [("cpu", "Another CPU"), ("cores", 96), ("quota_cores", 0.5), ("onnxruntime", "0")]
)
def test_times_are_not_given_to_another_machine(project: Path, changed: str, value: object) -> None:
    path = project / "reports/machine.json"
    write_json(path, read_json(path) | {changed: value})
    done = _stage("latency", project)
    assert done.returncode == 1
    assert done.stderr.startswith("error: reports/machine.json: it describes another machine")
    assert "--single-item machine" in done.stderr
    assert not (project / "reports/latency.json").exists()


def test_a_slower_model_is_measured_slower(tmp_path: Path) -> None:
    """64 times the pixels in one process: the ratio is far from 1 on any machine, however busy."""
    models = {}
    for name, side in (("small", 16), ("large", 1024)):
        path = write_model(tmp_path / f"{name}.onnx", contract=make_contract(side=side))
        models[name] = open_model(path)
    write_originals(tmp_path, per_class=1)
    pictures = read_pictures(models, ["data/happy/test000.png"], tmp_path)
    found, _ = measure(models, pictures, rounds=3, seed=0)
    assert found["large"].batch_16.p50_ms > 5 * found["small"].batch_16.p50_ms
    assert found["large"].batch_16.p50_ms > found["large"].batch_1.p50_ms


def test_each_model_gets_the_same_pictures_in_its_own_size(tmp_path: Path) -> None:
    manifest = write_originals(tmp_path, per_class=1)
    models = {
        f"side{side}": open_model(write_model(tmp_path / f"{side}.onnx", contract=make_contract(side=side)))
        for side in (16, 24)
    }
    pictures = read_pictures(models, list(manifest["source"][:3]), tmp_path)
    assert pictures["side16"].shape == (16, 16, 16, 3)
    assert pictures["side24"].shape == (16, 24, 24, 3)
    assert np.array_equal(pictures["side24"][0], pictures["side24"][3])
    assert pictures["side16"].mean((1, 2, 3)) == pytest.approx(pictures["side24"].mean((1, 2, 3)), abs=1)


def test_what_was_timed_reaches_the_comparison(project: Path) -> None:
    _stage("latency", project)
    done = _stage("compare", project)
    assert done.returncode == 0, done.stderr
    found = read_json(project / "reports/comparison.json")
    assert found["selected"] == "vgg"
    timed = read_json(project / "reports/latency.json")["models"]
    for row in found["rows"]:
        assert row["p50_ms"] == timed[row["architecture"]]["batch_1"]["p50_ms"]
        assert row["p95_ms"] == timed[row["architecture"]]["batch_1"]["p95_ms"]
        assert row["batch_16_p50_ms"] == timed[row["architecture"]]["batch_16"]["p50_ms"]
    assert _stage("compare", project, "--print").stdout == done.stdout


def test_only_the_architectures_of_the_parameters_are_compared(project: Path) -> None:
    _stage("latency", project)
    write_record(project / "evaluations/resnet50/metrics.json", _metrics("resnet50"))
    _stage("compare", project)
    rows = read_json(project / "reports/comparison.json")["rows"]
    assert sorted(row["architecture"] for row in rows) == sorted(NAMES)


def test_a_variants_speedup_is_relative_to_its_float_model(tmp_path: Path) -> None:
    """The twin of 4096 times the pixels: far slower on any machine."""
    models = {}
    for name, side in (("vgg", 1024), ("vgg-int8", 16), ("lenet-int8", 16)):
        path = write_model(tmp_path / f"{name}.onnx", contract=make_contract(side=side, architecture=name))
        models[name] = open_model(path)
    write_originals(tmp_path, per_class=1)
    pictures = read_pictures(models, ["data/happy/test000.png"], tmp_path)
    found, _ = measure(models, pictures, rounds=3, seed=0)
    assert (found["vgg-int8"].batch_16.speed_up or 0) > 5
    # Without a twin there is nothing to be faster than.
    assert found["lenet-int8"].batch_1.speed_up is None
    assert found["vgg"].batch_1.speed_up is None


def test_twins_take_their_turns_together() -> None:
    order = random.Random(0)
    turns = [_shuffled(NAMES, order) for _ in range(30)]
    assert all(sorted(turn) == sorted(NAMES) for turn in turns)
    assert all({turn[0], turn[1]} in ({"lenet", "lenet-int8"}, {"vgg", "vgg-int8"}) for turn in turns)
    assert {turn[0] for turn in turns} == set(NAMES)


def test_a_missing_evaluation_is_named(project: Path) -> None:
    _stage("latency", project)
    (project / "evaluations/vgg/metrics.json").unlink()
    done = _stage("compare", project)
    assert done.returncode == 1
    assert done.stderr.startswith("error: evaluations/vgg/metrics.json: No such file")
    assert "dvc repro --force --single-item evaluate@vgg" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (project / "reports/comparison.json").exists()


def test_a_variant_that_was_not_timed_is_named(project: Path) -> None:
    timed = dict.fromkeys(NAMES[:3], times(2.0, speed_up=2.0))
    write_record(
        project / "reports/latency.json", Latencies(timing=TIMING, threads=1, rounds=3, models=timed)
    )
    with pytest.raises(ResultCorrupt, match=r"latency\.json: no times of vgg-int8"):
        compare.read_inputs(project, ARCHITECTURES)


def test_printing_without_a_comparison_says_what_to_run(project: Path) -> None:
    done = _stage("compare", project, "--print")
    assert done.returncode == 1
    assert "reports/comparison.json" in done.stderr
    assert "--single-item compare" in done.stderr


def test_a_missing_model_stops_the_timing(project: Path) -> None:
    shutil.rmtree(project / "onnx/vgg")
    done = _stage("latency", project)
    assert done.returncode == 1
    assert done.stderr.startswith("error: onnx/vgg/model.onnx: No such file")
    assert not (project / "reports/latency.json").exists()
