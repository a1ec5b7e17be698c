"""`mien erase` in a real DVC project with kept pictures and a registry."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from serving.errors.requests import ObservationUnknown
from serving.observations.store import Store
from tests.support.collecting import CLASSES, KeptPictures, noise, project_with_data
from tests.support.dvc_project import REPOSITORY, DvcProject
from tests.support.mlflow_store import new_store
from tests.support.pictures import encoded
from tests.support.serving_models import FilledRegistry

PERSON, OTHER = "id003", "id004"


@pytest.fixture
def project(tmp_path: Path) -> DvcProject:
    """Pictures of twelve people, one of each class, named in both files beside them."""
    project = project_with_data(tmp_path / "project")
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    params["prepare"]["group_pattern"] = r"^(id\d+)_"
    (project.root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (project.root / "data/attributes.csv").write_text(
        f"group,glasses\n{PERSON},yes\n{OTHER},no\n", encoding="utf-8"
    )
    (project.root / "data/relabel.csv").write_text(
        f"file,label\nhappy/{PERSON}_happy.png,sad\nsad/{OTHER}_sad.png,\n", encoding="utf-8"
    )
    project.run("dvc", "add", "--quiet", "data")
    project.commit("Attributes")
    return project


@pytest.fixture
def kept(tmp_path: Path) -> KeptPictures:
    (tmp_path / "service").mkdir()
    return KeptPictures(tmp_path / "service")


def erase(project: DvcProject, kept: KeptPictures, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.erase", *arguments],
        cwd=project.root,
        env=os.environ | kept.environment | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )


def files(project: DvcProject) -> set[str]:
    return {path.relative_to(project.root).as_posix() for path in (project.root / "data").rglob("*.png")}


def pointed(project: DvcProject) -> str:
    return str(yaml.safe_load((project.root / "data.dvc").read_text())["outs"][0]["md5"])


def test_without_yes_everything_is_listed_and_nothing_removed(
    project: DvcProject, kept: KeptPictures
) -> None:
    before = files(project)
    done = erase(project, kept, PERSON)
    assert done.returncode == 0, done.stderr
    for label in CLASSES:
        assert f"data/{label}/{PERSON}_{label}.png" in done.stdout
    assert OTHER not in done.stdout
    assert files(project) == before
    assert project.run("git", "status", "--porcelain") == ""


def test_a_person_leaves_pictures_tables_and_cache_and_later_versions(
    project: DvcProject, kept: KeptPictures
) -> None:
    before, earlier = files(project), pointed(project)
    cache = project.root / ".dvc/cache/files/md5"
    copies = {path for path in cache.rglob("*") if path.is_file()}
    done = erase(project, kept, PERSON, "--yes")
    assert done.returncode == 0, done.stderr
    assert before - files(project) == {f"data/{label}/{PERSON}_{label}.png" for label in CLASSES}
    assert (project.root / "data/attributes.csv").read_text() == f"group,glasses\n{OTHER},no\n"
    assert (project.root / "data/relabel.csv").read_text() == f"file,label\nsad/{OTHER}_sad.png,\n"
    assert pointed(project) != earlier
    # Three pictures; the listings and tables of the earlier version stay.
    gone = copies - {path for path in cache.rglob("*") if path.is_file()}
    assert len(gone) == len(CLASSES)
    # The earlier version is named although the pictures are no longer here; the new one is not.
    project.commit("Erased")
    again = erase(project, kept, PERSON)
    assert earlier[:12] in again.stdout
    assert pointed(project)[:12] not in again.stdout


@pytest.mark.parametrize(("remote", "stays"), [("sample", False), ("ours", True)])
def test_the_new_version_leaves_the_samples_remote_and_no_other(
    project: DvcProject, kept: KeptPictures, remote: str, stays: bool
) -> None:
    project.run("dvc", "remote", "add", remote, "../remote")
    pointer = project.root / "data.dvc"
    content = yaml.safe_load(pointer.read_text(encoding="utf-8"))
    content["outs"][0] |= {"remote": remote, "push": False}
    pointer.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert erase(project, kept, PERSON, "--yes").returncode == 0
    out = yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"][0]
    assert ({"remote", "push"} <= out.keys()) == stays
    assert not stays or out["remote"] == remote


def test_a_picture_that_somebody_else_has_too_stays_in_the_cache(
    project: DvcProject, kept: KeptPictures
) -> None:
    same = project.root / f"data/happy/{OTHER}_again.png"
    shutil.copyfile(project.root / f"data/happy/{PERSON}_happy.png", same)
    project.run("dvc", "add", "--quiet", "data")
    assert erase(project, kept, PERSON, "--yes").returncode == 0
    same.unlink()
    project.run("dvc", "checkout", "--quiet", "data")
    assert same.is_file()


def test_models_that_learned_from_them_are_named_with_their_aliases(
    project: DvcProject, kept: KeptPictures, tmp_path: Path
) -> None:
    registry = FilledRegistry(new_store(project.root), tmp_path / "artifacts")
    first = registry.add(seed=1)
    registry.client.set_model_version_tag("emotion", first, "data_dvc", pointed(project))
    registry.promote(first)
    second = registry.add(seed=2)
    registry.client.set_model_version_tag("emotion", second, "data_dvc", "0" * 32 + ".dir")
    done = erase(project, kept, PERSON)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "emotion version" in line]
    assert f"version {first} " in line
    assert "production" in line
    assert pointed(project)[:12] in line


def test_an_answer_goes_with_its_picture_and_what_was_collected_of_it(
    project: DvcProject, kept: KeptPictures
) -> None:
    id, picture = kept.add(noise(1), "happy", others={(1, 2, 9, 9): "sad"})
    other, other_picture = kept.add(noise(2), "happy")
    collected = [project.root / f"data/happy/{id}.png", project.root / f"data/sad/{id}-1.png"]
    for number, path in enumerate(collected):
        path.write_bytes(encoded(noise(10 + number)))
    project.run("dvc", "add", "--quiet", "data")
    done = erase(project, kept, id, "--yes")
    assert done.returncode == 0, done.stderr
    assert not picture.exists()
    assert not [path for path in collected if path.exists()]
    assert other_picture.exists()
    store = Store(kept.environment["MIEN_DATABASE_URL"])
    try:
        assert store.observation(other).feedback == "happy"
        with pytest.raises(ObservationUnknown):
            store.observation(id)
    finally:
        store.close()


def test_a_version_that_is_not_in_the_cache_is_unknown_and_not_clean(
    project: DvcProject, kept: KeptPictures
) -> None:
    earlier = pointed(project)
    assert erase(project, kept, OTHER, "--yes").returncode == 0
    project.commit("Erased")
    listing = project.root / ".dvc/cache/files/md5" / earlier[:2] / earlier[2:]
    listing.unlink()
    done = erase(project, kept, PERSON)
    (line,) = [line for line in done.stdout.splitlines() if earlier[:12] in line]
    assert "unknown" in line


def test_nothing_of_a_name_is_an_error(project: DvcProject, kept: KeptPictures) -> None:
    done = erase(project, kept, "id999", "--yes")
    assert done.returncode == 1
    assert "id999" in done.stderr
    assert "group_pattern" in done.stderr
