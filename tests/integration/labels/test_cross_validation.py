"""`python -m pipelines.labels --folds K` on drawn patterns of which known ones are labelled wrongly."""

from __future__ import annotations

import csv
import signal
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from pipelines.core import paths
from pipelines.core.dataset import Dataset, write_dataset
from pipelines.core.manifest import COLUMNS, SCHEMA, digest, read_manifest, write_manifest
from pipelines.core.params import load_params
from pipelines.labels.command import JudgedLabels, judge_by_folds
from serving.contract import InputSpec
from tests.support.prepared import CLASSES, picture
from tests.support.processes import interrupted_at
from tests.support.training_project import from_scratch, set_params, start_stage

SIDE = 16
PEOPLE = {"train": 60, "val": 15, "test": 15}
PICTURES = 2
"""Of each person."""
FOLDS = 3
FLIPPED = 0.1


def make_project(root: Path) -> set[str]:
    """Write a project of patterns, two of each person; returns the files whose label is another class."""
    random = np.random.default_rng(5)
    rows: list[dict[str, Any]] = []
    flipped = set()
    for split, people in PEOPLE.items():
        wrong = random.choice(people * PICTURES, round(FLIPPED * people * PICTURES), replace=False)
        for number in range(people * PICTURES):
            pattern = int(random.integers(len(CLASSES)))
            is_wrong = number in wrong
            label = CLASSES[(pattern + int(random.integers(1, len(CLASSES))) * is_wrong) % len(CLASSES)]
            name = f"{split}{number // PICTURES:03}_{number % PICTURES}"
            image = picture(pattern, random, side=SIDE)
            for folder in (paths.PREPARED_IMAGES / split, paths.DATA):
                path = root / folder / label / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), image[:, :, ::-1])
            if is_wrong:
                flipped.add(f"{label}/{name}.png")
            rows.append(_row(split, label, name, perceptual_hash=f"{random.integers(2**63):016x}"))
    table = pa.Table.from_pandas(pd.DataFrame(rows, columns=list(COLUMNS)), SCHEMA, preserve_index=False)
    spec = InputSpec(height=SIDE, width=SIDE)
    write_manifest(root / paths.MANIFEST, table)
    write_dataset(root / paths.DATASET, Dataset(classes=CLASSES, input=spec, dataset=digest(table, spec)))
    set_params(root, models__lenet__epochs=6)
    from_scratch(root, "lenet")
    return flipped


def _row(split: str, label: str, name: str, *, perceptual_hash: str) -> dict[str, Any]:
    return {
        **dict.fromkeys(("width", "height"), SIDE),
        **dict.fromkeys(("brightness", "contrast", "sharpness"), 0.5),
        "path": f"images/{split}/{label}/{name}.png",
        "split": split,
        "label": label,
        "group": name.partition("_")[0],
        "mode": "RGB",
        "bytes": 100,
        "pixel_sha256": name,
        "perceptual_hash": perceptual_hash,
        "exif_orientation": 1,
        "source": f"data/{label}/{name}.png",
    }


def start(root: Path, *arguments: str) -> subprocess.Popen[str]:
    return start_stage(root, "--folds", str(FOLDS), *arguments, module="pipelines.labels")


def run(root: Path, *arguments: str) -> str:
    with start(root, *arguments) as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def proposals(root: Path) -> list[dict[str, str]]:
    with (root / paths.LABELS / "relabel.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def logits(root: Path) -> list[NDArray[np.float32]]:
    """Of each finished fold, from the files that are kept."""
    found = []
    for fold in range(1, FOLDS + 1):
        (path,) = (root / paths.CHECKPOINTS / "labels" / "lenet").glob(f"*/fold-{fold}.npz")
        with np.load(path) as file:
            found.append(file["logits_00000"])
    return found


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str], str]:
    """A project after one run, the files that are labelled wrongly, and what the run printed."""
    root = tmp_path_factory.mktemp("unbroken")
    flipped = make_project(root)
    return root, flipped, run(root, "--sheet", "9")


@pytest.fixture
def judged(unbroken: tuple[Path, set[str], str], monkeypatch: pytest.MonkeyPatch) -> JudgedLabels:
    """Every label of that project, from the answers that the run kept."""
    monkeypatch.chdir(unbroken[0])
    return judge_by_folds("lenet", load_params(), folds=FOLDS)


def test_flipped_labels_of_every_split_are_found_far_more_often_than_by_chance(
    unbroken: tuple[Path, set[str], str],
) -> None:
    root, flipped, _ = unbroken
    found = proposals(root)
    right = [row for row in found if row["file"] in flipped]
    assert len(right) / len(found) > 4 * FLIPPED
    assert len(right) / len(flipped) > 0.5
    assert {row["split"] for row in right} == set(PEOPLE)
    # The most probable ones first.
    assert all(row["file"] in flipped for row in found[: len(right) // 3])


def test_every_picture_is_judged_once(judged: JudgedLabels, unbroken: tuple[Path, set[str], str]) -> None:
    manifest = read_manifest(unbroken[0] / paths.MANIFEST)
    assert list(judged.sources) == list(manifest["source"])
    assert sum(len(answers) for answers in logits(unbroken[0])) == len(manifest)
    assert judged.answers.probabilities.sum(1) == pytest.approx(np.ones(len(manifest)))
    # An answer in the place of another picture would be right in a third of the cases.
    assert (judged.answers.predicted == judged.answers.actual).mean() > 0.7


def test_the_found_ones_are_those_of_the_paper(
    judged: JudgedLabels, unbroken: tuple[Path, set[str], str]
) -> None:
    """Confident joint, calibration and pruning by noise rate, picture by picture (Northcutt et al., 2021)."""
    given, probabilities = judged.answers.actual, judged.answers.probabilities
    count, classes = probabilities.shape
    threshold = [probabilities[given == label, label].mean() for label in range(classes)]
    joint = np.zeros((classes, classes))
    for label, row in zip(given, probabilities, strict=True):
        confident = [other for other in range(classes) if row[other] >= threshold[other] - 1e-6]
        if confident:
            joint[label, max(confident, key=lambda other: row[other])] += 1
    for label in range(classes):
        joint[label] *= (given == label).sum() / joint[label].sum() / count
    expected = set()
    for label in range(classes):
        for other in set(range(classes)) - {label}:
            members = [index for index in range(count) if given[index] == label]
            margin = {index: probabilities[index, other] - probabilities[index, label] for index in members}
            members.sort(key=lambda index: -margin[index])
            expected |= {
                index for index in members[: round(joint[label, other] * count)] if margin[index] > 0
            }
    assert {row["file"] for row in proposals(unbroken[0])} == {judged.files[index] for index in expected}
    assert judged.errors.share == pytest.approx(1 - np.trace(joint))


def test_sheet_and_shares_of_each_class(unbroken: tuple[Path, set[str], str]) -> None:
    root, _, printed = unbroken
    sheet = cv2.imread(str(root / paths.LABELS / "sheet.png"))
    assert sheet is not None
    assert np.unique(sheet).size > 100, "the sheet shows no picture"
    assert "of test, train and val" in printed
    for name in CLASSES:
        (line,) = [line for line in printed.splitlines() if line.startswith(f"  {name}")]
        assert "%" in line
    assert not (root / paths.RELABEL).exists(), "nothing is applied unasked"
    assert not (root / "mlruns").exists()


def test_a_killed_run_goes_on_and_ends_the_same(unbroken: tuple[Path, set[str], str], tmp_path: Path) -> None:
    root, _, _ = unbroken
    make_project(tmp_path)
    with start(tmp_path) as process:
        assert process.stdout is not None
        in_second = False
        for line in process.stdout:
            in_second |= line.startswith(f"fold 2 of {FOLDS}")
            if in_second and "epoch 3" in line:
                process.send_signal(signal.SIGKILL)
                break
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / paths.LABELS).exists()

    printed = run(tmp_path)
    assert "fold 1 of" not in printed, "a finished fold is trained again"
    assert "resuming after epoch 2" in printed or "resuming after epoch 3" in printed
    for one, other in zip(logits(tmp_path), logits(root), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    assert [row["file"] for row in proposals(tmp_path)] == [row["file"] for row in proposals(root)]
    (folder,) = (tmp_path / paths.CHECKPOINTS / "labels" / "lenet").iterdir()
    assert {path.name for path in folder.iterdir()} == {f"fold-{fold}.npz" for fold in range(1, FOLDS + 1)}


def test_an_interrupt_says_how_to_go_on(tmp_path: Path) -> None:
    make_project(tmp_path)
    with start(tmp_path) as process:
        err = interrupted_at(process, "epoch 2")
    assert process.returncode == 1
    assert "the same command goes on" in err
    assert "Traceback" not in err


def test_a_second_run_trains_nothing_and_leaves_out_what_a_person_decided(
    unbroken: tuple[Path, set[str], str],
) -> None:
    root, _, _ = unbroken
    before, written = proposals(root), (root / paths.LABELS / "relabel.csv").read_text()
    table = "\n".join(["file,label", *(f"{row['file']},{row['label']}" for row in before[:3])])
    (root / paths.RELABEL).write_text(f"{table}\n")
    try:
        printed = run(root)
        assert proposals(root) == before[3:]
    finally:
        (root / paths.RELABEL).unlink()
        (root / paths.LABELS / "relabel.csv").write_text(written)
    assert "fold 1 of" not in printed


def test_a_damaged_answer_is_trained_again(unbroken: tuple[Path, set[str], str]) -> None:
    root, _, _ = unbroken
    expected = logits(root)
    (path,) = (root / paths.CHECKPOINTS / "labels" / "lenet").glob("*/fold-3.npz")
    path.write_bytes(path.read_bytes()[:100])
    printed = run(root)
    assert f"fold 3 of {FOLDS}" in printed
    assert f"fold 2 of {FOLDS}" not in printed
    for one, other in zip(logits(root), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--folds", "1"), "--folds"), (("--folds", "16"), "val"), (("alexnet",), "alexnet")],
    ids=["one-fold", "more-than-people", "unknown-architecture"],
)
def test_bad_options_are_one_line(
    unbroken: tuple[Path, set[str], str], arguments: tuple[str, ...], message: str
) -> None:
    with start(unbroken[0], *arguments) as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
