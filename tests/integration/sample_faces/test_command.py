"""`python -m sample_faces` as a user runs it, and the sample that is committed."""

from __future__ import annotations

import configparser
import csv
import io
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from pipelines.core.io import sha256_of
from pipelines.core.params import load_params
from pipelines.prepare.splitting import carve
from sample_faces.action_units import CLASSES
from sample_faces.dataset import SampleSpec, draw_image, plan_shots

COMMITTED = SampleSpec(per_class=600, seed=20)


def sample(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sample_faces", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_of(path) for path in sorted(folder.rglob("*.jpg"))}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images of each class, drawn by two processes."""
    folder = tmp_path_factory.mktemp("sample") / "drawn"
    root = Path(__file__).resolve().parents[3]
    result = sample("--per-class", "3", "--seed", "5", "--out", folder, "--processes", "2", cwd=root)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{folder}: 21 images of 7 classes\n"
    return folder


def test_files_are_rgb_jpegs_in_class_folders(drawn: Path) -> None:
    assert {path.name for path in drawn.iterdir()} == {*CLASSES, "attributes.csv"}
    for path in drawn.rglob("*.jpg"):
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (72, 72))
        assert re.fullmatch(rf"id\d{{4}}_{path.parent.name}_\d\d\.jpg", path.name)


def test_the_number_of_processes_changes_no_byte(drawn: Path, repository: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    sample("--per-class", "3", "--seed", "5", "--out", again, "--processes", "1", cwd=repository)
    assert digests(again) == digests(drawn)


def test_more_images_keep_those_there_were(drawn: Path, repository: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    sample("--per-class", "4", "--seed", "5", "--out", more, cwd=repository)
    assert digests(drawn).items() < digests(more).items()


def test_an_earlier_sample_is_replaced(repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for per_class in ("2", "1"):
        assert sample("--per-class", per_class, "--out", out, "--size", "32", cwd=repository).returncode == 0
    assert len(digests(out)) == 7


def test_shifts_reach_the_files(drawn: Path, repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "dark"
    sample("--per-class", "3", "--seed", "5", "--out", out, "--darker", "0.5", cwd=repository)
    levels = [
        np.mean([np.asarray(Image.open(path), float).mean() for path in folder.rglob("*.jpg")])
        for folder in (out, drawn)
    ]
    assert levels[0] / levels[1] == pytest.approx(0.5, abs=0.02)


def test_somebody_elses_folder_is_left_alone(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    result = sample("--per-class", "1", "--out", tmp_path, cwd=repository)
    assert result.returncode == 1
    assert "holiday.jpg" in result.stderr
    assert (tmp_path / "holiday.jpg").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["--per-class", "0"], "--per-class"),
        (["--seed", "-1"], "--seed"),
        (["--size", "8"], "--size"),
        (["--darker", "1.5"], "--darker"),
        (["--blur", "-1"], "--blur"),
        (["--glasses", "2"], "--glasses"),
        (["--identities", "9-3"], "--identities"),
        (["--per-person", "8"], "--per-person"),
        (["--class-mix", "happy"], "--class-mix"),
        (["--class-mix", "bored=0.5"], "--class-mix"),
        (["--processes", "0"], "--processes"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_wrong_arguments_are_one_line_that_names_the_option(
    arguments: list[str], option: str, repository: Path, tmp_path: Path
) -> None:
    result = sample("--out", tmp_path / "out", *arguments, cwd=repository)
    assert result.returncode == 1
    assert re.fullmatch(rf"error: {option}: got .*, expected .*\n", result.stderr)
    assert not (tmp_path / "out").exists()


def test_a_folder_is_asked_for(repository: Path) -> None:
    result = sample(cwd=repository)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "--out" in result.stderr


def test_the_contact_sheet_is_the_one_in_the_docs(repository: Path, tmp_path: Path) -> None:
    sample("--sheet", tmp_path / "sheet.jpg", cwd=repository)
    with Image.open(tmp_path / "sheet.jpg") as new, Image.open(repository / "docs/images/sample.jpg") as old:
        assert new.size == old.size
        # Other processors may round a few pixels differently.
        assert np.abs(np.asarray(new, float) - np.asarray(old, float)).mean() < 1
    assert (repository / "docs/images/sample.jpg").stat().st_size <= 300_000


def committed_files(repository: Path) -> dict[str, Path]:
    """Relative path of every committed image → its file in the remote inside the repository."""
    out = yaml.safe_load((repository / "data.dvc").read_text())["outs"][0]
    remote = repository / ".dvc" / "sample" / "files" / "md5"
    listing = json.loads((remote / out["md5"][:2] / out["md5"][2:]).read_text())
    return {entry["relpath"]: remote / entry["md5"][:2] / entry["md5"][2:] for entry in listing}


def test_the_committed_sample_is_complete(repository: Path) -> None:
    files = committed_files(repository)
    shots = list(plan_shots(COMMITTED))
    assert set(files) == {"attributes.csv", *(f"{shot.label}/{shot.name}" for shot in shots)}
    with files["attributes.csv"].open(newline="", encoding="utf-8") as file:
        groups = [row["group"] for row in csv.DictReader(file)]
    assert sorted(groups) == sorted({f"id{shot.identity:04d}" for shot in shots})
    assert all(path.is_file() for path in files.values())
    assert sum(path.stat().st_size for path in files.values()) <= 12_000_000


def test_the_committed_sample_has_a_thousand_test_pictures(repository: Path) -> None:
    params = load_params(repository / "params.yaml")
    fractions = {"test": params.prepare.test_fraction, "val": params.prepare.val_fraction}
    splits = Counter(
        carve(f"id{shot.identity:04d}", seed=params.seed, fractions=fractions)
        for shot in plan_shots(COMMITTED)
    )
    assert splits["test"] >= 1000
    assert splits["val"] >= 400


def test_the_default_options_draw_the_committed_sample(repository: Path, tmp_path: Path) -> None:
    sample("--per-class", "3", "--out", tmp_path / "few", cwd=repository)
    committed = committed_files(repository)
    for name in digests(tmp_path / "few"):
        few, stored = (
            np.asarray(Image.open(path), float) for path in (tmp_path / "few" / name, committed[name])
        )
        assert np.abs(few - stored).mean() < 1


def test_framing_and_expressions_reach_the_files(drawn: Path, repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "portraits"
    options = ("--framing", "portrait", "--expressions", "subtle")
    sample("--per-class", "3", "--seed", "5", *options, "--out", out, cwd=repository)
    before, after = digests(drawn), digests(out)
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())


def test_the_committed_sample_is_what_the_command_draws(repository: Path) -> None:
    files = committed_files(repository)
    for shot in plan_shots(COMMITTED)[::197]:
        stored = Image.open(io.BytesIO(files[f"{shot.label}/{shot.name}"].read_bytes()))
        difference = np.asarray(stored, float) - draw_image(COMMITTED, shot)
        # JPEG at quality 90 moves a level by about 2; another picture differs by 30 and more.
        assert np.abs(difference).mean() < 5


def test_only_the_sample_has_a_remote(repository: Path) -> None:
    config = configparser.ConfigParser()
    config.read(repository / ".dvc" / "config")
    assert not config.has_option("core", "remote")
    assert config["'remote \"sample\"'"]["url"] == "sample"
    assert yaml.safe_load((repository / "data.dvc").read_text())["outs"][0]["remote"] == "sample"
