"""A model judged on a folder with other class names, by the command; all answers are known beforehand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from sklearn import metrics as sklearn

from pipelines.core.records import read_record
from pipelines.evaluate.other_data import OtherDataResult
from tests.support.onnx_models import CLASSES, brightness_levels, make_contract, write_model
from tests.support.originals import flat_picture

REPOSITORY = Path(__file__).parents[3]
LEVELS = dict(zip(CLASSES, brightness_levels(len(CLASSES)), strict=True))
# Folder class → what its pictures look like to the model, one entry per picture.
SHOWN = {
    "happiness": ["happy", "happy", "happy", "fear"],
    "anger": ["angry", "angry"],
    "sad": ["sad", "sad", "fear", "surprise"],
    "contempt": ["angry", "happy", "happy"],
}
MAP = "happiness=happy,anger=angry"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows brightness, and a folder of flat pictures with one broken file."""
    root = tmp_path_factory.mktemp("place")
    write_model(root / "model.onnx", contract=make_contract(), levels=tuple(LEVELS.values()))
    for label, looks in SHOWN.items():
        (root / "other" / label).mkdir(parents=True)
        for index, look in enumerate(looks):
            picture = flat_picture(LEVELS[look], seed=index)
            cv2.imwrite(str(root / "other" / label / f"{index}.png"), picture[..., ::-1])
    (root / "other" / "sad" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return root


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.evaluate.other_data", "model.onnx", "other", *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def result(place: Path) -> OtherDataResult:
    done = run(place, "--map", MAP, "--out", "result.json")
    assert done.returncode == 0, done.stderr
    return read_record(place / "result.json", OtherDataResult, stage="other_data")


def test_counts_say_what_was_left_out(result: OtherDataResult) -> None:
    assert (result.images, result.unreadable) == (10, 1)
    assert result.left_out == {"contempt": 3}
    assert result.mapping == {"anger": "angry", "happiness": "happy", "sad": "sad"}
    assert result.model_only == {"disgust": 0, "fear": 2, "neutral": 0, "surprise": 1}


def test_the_answer_is_the_most_probable_of_the_shared_classes(result: OtherDataResult) -> None:
    # What looks like fear is nearer to happy than to angry; what looks surprised is nearest to sad.
    assert list(result.classes) == ["angry", "happy", "sad"]
    assert [list(row) for row in result.confusion] == [[2, 0, 0], [0, 4, 0], [0, 1, 3]]
    assert result.accuracy == 0.9


def test_metrics_agree_with_scikit_learn(result: OtherDataResult) -> None:
    pairs = [
        (actual, predicted)
        for actual, row in enumerate(result.confusion)
        for predicted, count in enumerate(row)
        for _ in range(count)
    ]
    actual, predicted = zip(*pairs, strict=True)
    assert result.accuracy == pytest.approx(sklearn.accuracy_score(actual, predicted), abs=1e-6)
    assert result.balanced_accuracy == pytest.approx(
        sklearn.balanced_accuracy_score(actual, predicted), abs=1e-6
    )
    assert result.macro_f1 == pytest.approx(sklearn.f1_score(actual, predicted, average="macro"), abs=1e-6)
    assert result.ece is not None
    assert 0 <= result.ece <= 1


def test_the_table_names_every_count(place: Path) -> None:
    done = run(place, "--map", MAP)
    for fact in ("10 pictures, 1 unreadable", "3 pictures of contempt", "class fear", "balanced accuracy"):
        assert fact in done.stdout


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        ((), "--map"),
        (("--map", "joy=happy"), "'joy'"),
        (("--map", "happiness=joyful"), "'joyful'"),
        (("--map", "happiness"), "'happiness'"),
        (("--map", MAP, "--split", "test"), "split test"),
    ],
    ids=["nothing shared but one", "no such folder", "no such class", "no target", "no splits"],
)
def test_what_cannot_be_judged_is_refused_in_one_line(
    place: Path, arguments: tuple[str, ...], fact: str
) -> None:
    done = run(place, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert fact in done.stderr
    assert len(done.stderr.splitlines()) == 1
