"""`python -m pipelines.robustness` on flat pictures, whose brightness is their class."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from pipelines.core import paths
from pipelines.core.manifest import read_manifest
from pipelines.core.results import read_evaluation
from pipelines.robustness.corruptions import CORRUPTIONS
from pipelines.robustness.pictures import draw, draw_digest
from pipelines.robustness.record import Robustness, read_robustness
from tests.support.onnx_models import CLASSES, brightness_levels, make_contract, write_model
from tests.support.robustness_project import PER_CLASS, SEED, evaluated_project, run


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evaluated project; measured once."""
    root = evaluated_project(tmp_path_factory.mktemp("project"))
    done = run(root, "pipelines.robustness")
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="module")
def found(project: Path) -> Robustness:
    return read_robustness(project)


def test_clean_pictures_are_those_of_evaluate(project: Path, found: Robustness) -> None:
    evaluation = read_evaluation(project, "lenet")
    assert found.images == evaluation.test.images == PER_CLASS * len(CLASSES)
    assert found.people == evaluation.test.groups == PER_CLASS
    assert found.clean_accuracy.value == evaluation.test.accuracy == 0.8
    assert found.clean_ece.value == pytest.approx(evaluation.test.ece, abs=1e-6)


@pytest.mark.parametrize("name", ["blur", "motion blur", "rotation and shift"])
def test_what_leaves_brightness_leaves_the_answers(found: Robustness, name: str) -> None:
    assert [one.value for one in found.corruptions[name]] == [0.8, 0.8, 0.8]


@pytest.mark.parametrize("name", ["dark", "bright"])
def test_other_light_takes_them_away(found: Robustness, name: str) -> None:
    values = [one.value or 0.0 for one in found.corruptions[name]]
    assert values[2] < 0.5
    assert found.worst.accuracy.value == min(
        one.value or 0.0 for cases in found.corruptions.values() for one in cases
    )


def test_the_record_says_which_pictures_and_which_file(project: Path, found: Robustness) -> None:
    rows = draw(read_manifest(project / paths.MANIFEST), most=200, seed=SEED)
    assert found.draw == draw_digest(rows)
    assert found.architecture == "lenet"
    assert sum(found.right) / 24 / len(rows) == pytest.approx(found.corrupted_accuracy.value, abs=1e-6)
    # A misleading person's pictures are as bright as the next class: right only where light makes them so.
    assert len(found.right) == len(rows)


def test_it_writes_the_same_bytes_again(project: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(project, tmp_path / "copy"))
    before = (copy / paths.ROBUSTNESS).read_bytes()
    assert run(copy, "pipelines.robustness").returncode == 0
    assert (copy / paths.ROBUSTNESS).read_bytes() == before


@pytest.mark.parametrize("options", [("lenet-int8",), ("--all",)])
def test_tables_on_demand_write_nothing(project: Path, options: tuple[str, ...]) -> None:
    before = (project / paths.ROBUSTNESS).read_bytes()
    done = run(project, "pipelines.robustness", *options)
    assert done.returncode == 0, done.stderr
    names = {"lenet", "lenet-int8"} if options == ("--all",) else {"lenet-int8"}
    assert {line.split()[0] for line in done.stdout.splitlines() if line.startswith("lenet")} == names
    assert "80/80/80" in done.stdout
    assert (project / paths.ROBUSTNESS).read_bytes() == before


@pytest.mark.parametrize("names", [("vgg",), ("lenet", "nonsense")])
def test_an_unknown_model_is_one_line(project: Path, names: tuple[str, ...]) -> None:
    done = run(project, "pipelines.robustness", *names)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert names[-1] in line
    assert "lenet-int8" in line


def test_fewer_pictures_can_be_asked_for(project: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(project, tmp_path / "copy"))
    params = yaml.safe_load((copy / paths.PARAMS).read_text())
    (copy / paths.PARAMS).write_text(yaml.safe_dump(params | {"robustness": {"pictures": 7}}))
    assert run(copy, "pipelines.robustness").returncode == 0
    assert read_robustness(copy).images == 7
    assert set(read_robustness(copy).corruptions) == set(CORRUPTIONS)


def test_a_model_of_other_data_is_refused(project: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(project, tmp_path / "copy"))
    contract = make_contract(dataset="00" * 32)
    write_model(copy / paths.onnx_model("lenet"), contract=contract, levels=brightness_levels(len(CLASSES)))
    done = run(copy, "pipelines.robustness")
    assert done.returncode == 1
    assert "trained on dataset 000000000000" in done.stderr


def test_a_model_that_was_not_evaluated_on_them_is_refused(project: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(project, tmp_path / "copy"))
    (copy / paths.evaluation_predictions("lenet")).unlink()
    done = run(copy, "pipelines.robustness")
    assert done.returncode == 1
    assert "evaluate@lenet" in done.stderr
