"""The card says what a model is for, what it is not for, and on what it was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.core import paths
from pipelines.core.records import write_record
from pipelines.report.model_card import SAMPLE_WARNING, Facts, is_sample, read_facts, render, render_short
from sample_faces.dataset import SampleSpec, plan_shots
from serving.contract import ConformalThreshold
from tests.support.registry_world import make_world
from tests.support.results import NOVELTY, robustness
from tests.support.timings import SAID


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    root = tmp_path_factory.mktemp("card")
    make_world(root).add_model("lenet")
    return read_facts(root, "lenet")


def test_card_forbids_work_and_education(facts: Facts) -> None:
    for card in (render(facts), render_short(facts)):
        assert "Art. 5(1)(f)" in card
        assert "at work or in education" in card


def test_card_states_the_figures_with_their_interval(facts: Facts) -> None:
    assert "| accuracy | 0.900 [0.800, 0.800] |" in render(facts)


def test_undefined_figures_are_a_dash(facts: Facts) -> None:
    assert "| brightness: low | 8 | 0.900 | – |" in render(facts)


def test_crops_stand_beside_whole_pictures(facts: Facts) -> None:
    card = render(facts)
    assert "haar finds a face in 8 of 24 test pictures." in card
    assert "| whole picture | 0.900 | – |" in card
    assert "| face | 0.750 | – |" in card


def test_data_is_counted_from_the_manifest(facts: Facts) -> None:
    # 3 classes × 2 pictures for val, × 8 for test; groups are named by split and number
    assert "30 pictures of 10 people, none in two splits: 6 for val, 24 for test." in render(facts)


def test_time_of_an_answer_stands_with_machine_date_and_calibration(facts: Facts) -> None:
    assert f"| latency | 2.50 ms, median, batch 1, one thread; {SAID} |" in render(facts)


def test_average_with_the_mirror_image_is_stated_where_there_is_one(facts: Facts) -> None:
    averaged = replace(facts, export=replace(facts.export, flip_average=True))
    assert "| prediction | mean of picture and mirror image |" in render(averaged)
    assert "| prediction |" not in render(facts)


def test_novelty_is_stated_where_it_was_measured(facts: Facts) -> None:
    card = render(replace(facts, metrics=replace(facts.metrics, novelty=NOVELTY)))
    assert "AUROC of 80 pictures without a face (set `drawn-1`) against 24 test pictures" in card
    assert "| all | 0.938 |\n| backdrops | 0.900 |\n| noise | 0.975 |" in card
    assert "68.8% of those without a face, 1.2% of the test pictures" in card
    assert "drawn-1" not in render(facts)


def test_corrupted_pictures_are_those_of_this_file(facts: Facts, tmp_path: Path) -> None:
    make_world(tmp_path).add_model("lenet")
    assert read_facts(tmp_path, "lenet").robustness is None
    found = robustness("lenet", sha256=facts.export.sha256, right=[12, 24])
    write_record(tmp_path / paths.ROBUSTNESS, found)
    assert read_facts(tmp_path, "lenet").robustness == found
    card = render(replace(facts, robustness=found))
    assert "accuracy 0.750 [0.675, 0.750] compared with 0.900 [0.800, 0.950] without corruption" in card
    assert "Worst case: noise at severity 3, accuracy 0.750 [0.675, 0.750]." in card
    assert "## Corrupted pictures" not in render(facts)
    write_record(tmp_path / paths.ROBUSTNESS, replace(found, sha256="00" * 32))
    assert read_facts(tmp_path, "lenet").robustness is None


def test_prediction_sets_are_stated_with_nominal_and_measured_coverage(facts: Facts) -> None:
    sets = ConformalThreshold(threshold=0.125, coverage=0.9, measured_coverage=0.875)
    card = render(replace(facts, export=replace(facts.export, sets=sets)))
    assert "at least 0.125; nominal coverage 0.9, measured on test 0.875 |" in card
    assert "prediction sets" not in render(facts)


def test_tables_are_whole(facts: Facts) -> None:
    for block in render(facts).split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1


@pytest.mark.parametrize(
    ("names", "sample"),
    [
        (["data/happy/id001_happy_0003.jpg", "data/sad/id002_sad_0001.jpg"], True),
        (["data/happy/id001_happy_0003.jpg", "data/sad/holiday.jpg"], False),
        (["data/happy/id001_sad_0003.jpg"], False),
        (["data/fer2013.csv#1"], False),
        ([], False),
    ],
)
def test_sample_is_known_by_its_names(names: list[str], sample: bool) -> None:
    assert is_sample(names) is sample


def test_sample_is_warned_of(facts: Facts) -> None:
    assert SAMPLE_WARNING not in render(facts)
    drawn = Facts(
        training=facts.training,
        metrics=facts.metrics,
        export=facts.export,
        data=type(facts.data)(images=facts.data.images, groups=facts.data.groups, sample=True),
        p50_ms=facts.p50_ms,
        timing=facts.timing,
    )
    assert SAMPLE_WARNING in render(drawn)
    assert SAMPLE_WARNING in render_short(drawn)


def test_card_fits_beside_the_verdict_of_seven_classes(facts: Facts) -> None:
    """A version's description may hold 5000 characters in MLflow's databases."""
    assert len(render_short(facts)) < 2200


def test_generator_names_its_pictures_so_that_the_card_knows_them() -> None:
    names = [f"data/{shot.label}/{shot.name}" for shot in plan_shots(SampleSpec(per_class=2, seed=1))]
    assert is_sample(names)
