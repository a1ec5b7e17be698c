"""The collect flow in a real git and DVC repository, with a real store of a service's kept pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from flows.collect import intake
from flows.collect.flow import BRANCH, SUMMARY, collect
from pipelines.core.manifest import read_manifest
from pipelines.core.params import load_params
from pipelines.prepare.hashing import pixel_sha256
from pipelines.prepare.splitting import carve
from pipelines.prepare.stage import prepare
from serving.contract import decode
from serving.contract.preprocessing import crop_square
from serving.observations.consensus import NOT_A_FACE, SKIP
from tests.support.collecting import CLASSES, KeptPictures, noise, project_with_data, seed_of
from tests.support.dvc_project import DvcProject
from tests.support.prefect_server import deployed, newest_artifact, runs_of

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeptPictures:
    made = KeptPictures(tmp_path / "service")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DvcProject:
    made = project_with_data(tmp_path / "checkout")
    made.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "remote"))
    made.commit("Remote")
    monkeypatch.chdir(made.root)
    return made


def run(**parameters: bool) -> tuple[str | None, str]:
    state = collect(**parameters, return_state=True)
    return state.name, state.message or ""


def split_of(project: DvcProject, person: int) -> str:
    params = load_params(project.root / "params.yaml")
    fractions = {"test": params.prepare.test_fraction, "val": params.prepare.val_fraction}
    return carve(f"id{person:03}", seed=params.seed, fractions=fractions)


def files_of(project: DvcProject, remote: Path) -> list[str]:
    """The branch's data, as the remote has them."""
    out = yaml.safe_load(project.file(BRANCH, "data.dvc"))["outs"][0]
    assert "remote" not in out
    listing = remote / "files" / "md5" / out["md5"][:2] / out["md5"][2:]
    return sorted(entry["relpath"] for entry in json.loads(listing.read_text()))


def test_feedback_becomes_a_new_version_of_the_data(
    project: DvcProject, kept: KeptPictures, tmp_path: Path
) -> None:
    splits = {split_of(project, person): person for person in range(12)}
    new, _ = kept.add(noise(1), "happy")
    photo = noise(2, side=80)
    cut, _ = kept.add(photo, "sad", box=(20, 30, 30, 30))
    twice, _ = kept.add(noise(3), "angry")
    kept.add(noise(3), "angry")
    kept.add(noise(seed_of(splits["train"], "sad")), "sad")
    kept.add(noise(seed_of(splits["train"], "sad")), "happy")
    kept.add(noise(seed_of(splits["test"], "sad")), "sad")
    kept.add(noise(seed_of(splits["val"], "sad")), "sad")
    kept.add(noise(4), "bored")
    kept.add(noise(5), "angry")
    kept.add(noise(5), "sad")
    kept.add(noise(6), "angry")[1].unlink()
    kept.add(noise(7), "angry")[1].write_bytes(b"no picture")
    kept.add(noise(8), None)
    kept.add(None, "angry")
    before = sorted(path.name for path in (project.root / "data").rglob("*"))

    with deployed("training", "training") as client:
        name, said = run(train=True)
        assert name == "Completed", said
        assert runs_of(client, "training")[0].parameters == {
            "reason": "3 pictures with labels came in",
            "revision": BRANCH,
        }
        summary = newest_artifact(client, SUMMARY)["data"]
    assert said.startswith("3 pictures came in; ")
    assert "they are the branch collected, pushed to store; started training" in said
    for reason, count in {
        intake.KNOWN: 2,
        intake.HELD_OUT: 2,
        intake.LABEL: 1,
        intake.TWICE: 1,
        intake.CONTRADICTED: 2,
        intake.GONE: 1,
        intake.UNREADABLE: 1,
    }.items():
        assert f"{count} refused: {reason}" in said
        assert f"* refused: {count}, {reason}" in summary

    found = files_of(project, tmp_path / "remote")
    came = {f"happy/{new}.png", f"sad/{cut}.png", f"angry/{twice}.png"}
    assert set(found) - {"faces.txt"} == came | {
        f"{label}/id{person:03}_{label}.png" for label in CLASSES for person in range(12)
    }
    # Nothing of the operator's was touched, and no picture of anybody is left lying about.
    assert project.run("git", "status", "--porcelain") == ""
    assert sorted(path.name for path in (project.root / "data").rglob("*")) == before
    assert not list((project.root / ".mien" / "workspaces").iterdir())

    project.run("git", "merge", "--quiet", BRANCH)
    project.run("dvc", "checkout", "--quiet", "data.dvc")
    is_trained_on(project, tmp_path / "prepared", came)
    stored = decode((project.root / "data" / "sad" / f"{cut}.png").read_bytes(), max_pixels=10**6)
    # The service's default margin, docs/service-settings.md.
    assert pixel_sha256(stored) == pixel_sha256(crop_square(photo, (20, 30, 30, 30), margin=0.15))

    name, said = run()
    assert name == "Nothing new"
    assert said.startswith("no pictures came in; ")
    # Those of the first run, its copy and its refused ones; some of the new ones may be in val or test now.
    again = re.findall(rf"(\d+) refused: (?:{intake.KNOWN}|{intake.HELD_OUT})", said)
    assert sum(map(int, again)) == 3 + 1 + 4
    assert project.run("git", "rev-parse", BRANCH) == project.run("git", "rev-parse", "HEAD")


def test_each_corrected_face_of_a_picture_becomes_its_own_picture(
    project: DvcProject, kept: KeptPictures, tmp_path: Path
) -> None:
    photo = noise(2, side=120)
    first, second, third, fourth = [(10 + 28 * number, 30, 24 - number, 24 - number) for number in range(4)]
    others = {second: "happy", third: None, fourth: "angry"}
    both, _ = kept.add(photo, "sad", box=first, others=others)
    one, _ = kept.add(noise(3, side=120), None, box=first, others={second: "angry", third: "bored"})
    name, said = run()
    assert name == "Completed", said
    assert said.startswith("4 pictures came in; ")
    assert f"1 refused: {intake.LABEL}" in said
    found = files_of(project, tmp_path / "remote")
    came = {f"sad/{both}.png", f"happy/{both}-1.png", f"angry/{both}-3.png", f"angry/{one}-1.png"}
    assert {path for path in found if not path.rpartition("/")[2].startswith(("id", "faces.txt"))} == came

    project.run("git", "merge", "--quiet", BRANCH)
    project.run("dvc", "checkout", "--quiet", "data.dvc")
    is_trained_on(project, tmp_path / "prepared", came)
    for path, box in ((f"sad/{both}", first), (f"happy/{both}-1", second), (f"angry/{both}-3", fourth)):
        stored = decode((project.root / "data" / f"{path}.png").read_bytes(), max_pixels=10**6)
        assert pixel_sha256(stored) == pixel_sha256(crop_square(photo, box, margin=0.15))


def test_what_people_agree_on_joins_the_data_beside_feedback(
    project: DvcProject, kept: KeptPictures, tmp_path: Path
) -> None:
    agreed, _ = kept.add(noise(1), None)
    kept.label(agreed, "happy", "sad", "happy")
    corrected, _ = kept.add(noise(2), "happy")
    kept.label(corrected, "angry", "angry")
    fed_back, _ = kept.add(noise(3), "sad")
    kept.label(fed_back, "angry", SKIP)
    for seed, labels in {
        4: ("sad", "happy", "angry"),
        5: ("sad",),
        6: (SKIP, SKIP),
        7: ("sad", "sad", "happy", "happy"),
    }.items():
        kept.label(kept.add(noise(seed), None)[0], *labels)
    kept.label(kept.add(noise(8), "sad")[0], NOT_A_FACE, NOT_A_FACE)
    kept.label(kept.add(noise(9), None)[0], "bored", "bored")
    name, said = run()
    assert name == "Completed", said
    assert said.startswith("3 pictures came in; ")
    assert f"1 refused: {intake.NO_FACE}" in said
    assert f"1 refused: {intake.LABEL}" in said
    found = files_of(project, tmp_path / "remote")
    new = {path for path in found if not path.rpartition("/")[2].startswith(("id", "faces.txt"))}
    assert new == {f"happy/{agreed}.png", f"angry/{corrected}.png", f"sad/{fed_back}.png"}


def test_how_many_must_agree_is_the_services_setting(
    project: DvcProject, kept: KeptPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_LABELS_NEEDED", "3")
    kept.label(kept.add(noise(1), None)[0], "sad", "sad")
    assert run() == ("Nothing new", "no kept picture has feedback or an agreed label")
    kept.label(kept.ids[0], "sad", "sad", "sad")
    name, said = run()
    assert (name, said.partition(";")[0]) == ("Completed", "1 picture came in")


def is_trained_on(project: DvcProject, prepared: Path, came: set[str]) -> None:
    """The pipeline's own `prepare` takes every new picture, each as its own group, and finds no copies."""
    params = load_params(project.root / "params.yaml")
    done = prepare(
        project.root / "data", prepared, root=project.root, params=params.prepare, seed=params.seed, workers=1
    )
    assert not done.duplicates.keepers
    assert not done.duplicates.conflicts
    rows = read_manifest(prepared / "manifest.parquet")
    new = rows[rows["source"].isin([f"data/{name}" for name in came])]
    assert len(new) == len(came)
    assert (new["group"] == new["source"]).all()


def test_without_the_opt_in_nothing_is_collected_and_that_is_said(
    kept: KeptPictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.add(noise(1), "happy")
    monkeypatch.delenv("MIEN_KEEP_IMAGES")
    monkeypatch.chdir(tmp_path)
    name, said = run()
    assert name == "Nothing new"
    assert "MIEN_KEEP_IMAGES is 0" in said
    # It has not even begun to look: there is no repository here.
    assert not (tmp_path / ".mien").exists()


def test_without_feedback_nothing_changes(
    kept: KeptPictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run() == ("Nothing new", "no kept picture has feedback or an agreed label")
    assert not (kept.root / "observations.db").exists()
    kept.add(noise(1), None)
    assert run() == ("Nothing new", "no kept picture has feedback or an agreed label")


def test_outside_of_a_repository_it_says_so(
    kept: KeptPictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.add(noise(1), "happy")
    monkeypatch.chdir(tmp_path)
    name, said = run()
    assert name == "Failed"
    assert "not the root of a git repository" in said
