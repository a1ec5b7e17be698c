"""`python -m pipelines.robustness` of several variants, on flat pictures, whose brightness is their class."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.core import paths
from pipelines.core.dataset import read_dataset
from pipelines.core.records import read_record
from pipelines.robustness.record import read_robustness
from pipelines.robustness.stage import RobustnessComparison
from tests.support.onnx_models import CLASSES, brightness_levels, make_contract, write_model
from tests.support.robustness_project import MISLEADING, PER_CLASS, evaluated_project, run

MODULE = "pipelines.robustness"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The int8 variant is right where the float one is not: on the misleading pictures."""
    root = evaluated_project(tmp_path_factory.mktemp("project"))
    levels = brightness_levels(len(CLASSES))
    contract = make_contract(dataset=read_dataset(root / paths.DATASET).dataset, architecture="lenet-int8")
    write_model(root / paths.onnx_model("lenet-int8"), contract=contract, levels=[*levels[1:], levels[0]])
    for module, *options in (("pipelines.evaluate", "lenet"), ("pipelines.robustness",)):
        done = run(root, module, *options)
        assert done.returncode == 0, done.stderr
    return root


def scores(output: str) -> list[list[str]]:
    """Rows of the first table: the variant, then its scores."""
    table = output.partition("Accuracy in %")[0]
    return [line.split() for line in table.splitlines() if line.startswith("lenet")]


def test_every_variant_is_judged_as_the_stage_judges_the_selected_one(project: Path, tmp_path: Path) -> None:
    before = (project / paths.ROBUSTNESS).read_bytes()
    out = tmp_path / "all.json"
    done = run(project, MODULE, "--all", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert (project / paths.ROBUSTNESS).read_bytes() == before
    found = read_record(out, RobustnessComparison, stage="robustness")
    selected = read_robustness(project)
    assert found.variants[0] == selected
    assert (found.missing, found.dataset) == ({}, read_dataset(project / paths.DATASET).dataset)
    float_, int8 = scores(done.stdout)
    assert (float_[0], int8[0]) == ("lenet", "lenet-int8")
    assert float_[1] == f"{100 * (selected.clean_accuracy.value or 0):.0f}"
    # It answers what is as bright as the next class with the class itself.
    assert int8[1] == f"{100 * MISLEADING / PER_CLASS:.0f}"
    blurred = found.variants[1].corruptions["blur"]
    assert [one.value for one in blurred] == [MISLEADING / PER_CLASS] * 3
    errors = [one.mean_corruption_error.value or 0.0 for one in found.variants]
    assert errors == sorted(errors)
    assert {one.draw for one in found.variants} == {selected.draw}


def test_only_the_named_ones_and_fewer_pictures(project: Path) -> None:
    before = sorted(project.rglob("*"))
    done = run(project, MODULE, "lenet-int8", "--pictures", "7")
    assert done.returncode == 0, done.stderr
    [row] = scores(done.stdout)
    assert row[0] == "lenet-int8"
    assert done.stdout.startswith("7 ")
    assert sorted(project.rglob("*")) == before


def test_a_variant_without_its_files_is_named_and_the_others_are_judged(
    project: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(project, tmp_path / "copy"))
    (copy / paths.onnx_model("lenet")).unlink()
    out = tmp_path / "all.json"
    done = run(copy, MODULE, "--all", "--pictures", "7", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert [row[0] for row in scores(done.stdout)] == ["lenet-int8"]
    found = read_record(out, RobustnessComparison, stage="robustness")
    assert set(found.missing) == {"lenet"}
    assert str(paths.onnx_model("lenet")) in found.missing["lenet"]
    assert done.stderr.splitlines()[-1].endswith(found.missing["lenet"])

    (copy / paths.evaluation_predictions("lenet-int8")).unlink()
    out.unlink()
    done = run(copy, MODULE, "--all", "--out", str(out))
    assert (done.returncode, done.stdout) == (1, "")
    assert "evaluate@lenet" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("lenet", "nonsense"), "nonsense"),
        (("--all", "--pictures", "0"), "--pictures"),
        (("--pictures", "7"), "--pictures"),
    ],
)
def test_a_wrong_option_is_one_line(project: Path, options: tuple[str, ...], named: str) -> None:
    done = run(project, MODULE, *options)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert named in line
