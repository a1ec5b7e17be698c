"""Own pictures stay out of git: the sample's remote is part of the repository and takes nothing else."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.pictures import textured, write_picture

KEPT = (
    ".gitignore",
    ".pre-commit-config.yaml",
    "Makefile",
    "data.dvc",
    "params.yaml",
    "requirements/dev.txt",
)
CLASSES = ("happy", "sad")


class Checkout:
    """What a clone of the repository has of its data, as a git and DVC repository of its own."""

    def __init__(self, root: Path, repository: Path) -> None:
        self.root = root
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(repository),
            "DVC_NO_ANALYTICS": "1",
        }

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True)

    def own_pictures(self) -> None:
        shutil.rmtree(self.root / "data", ignore_errors=True)
        for number in range(120):
            label = CLASSES[number % 2]
            write_picture(self.root / f"data/{label}/p{number}_0.png", textured(number, width=32, height=32))

    def remote_files(self) -> set[str]:
        return {
            path.parent.name + path.name for path in (self.root / ".dvc/sample").rglob("*") if path.is_file()
        }


@pytest.fixture
def checkout(tmp_path: Path, repository: Path) -> Checkout:
    root = tmp_path / "clone"
    for name in KEPT:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(repository / name, root / name)
    (root / ".dvc").mkdir()
    for name in (".gitignore", "config", "sample.md5"):
        shutil.copyfile(repository / ".dvc" / name, root / ".dvc" / name)
    shutil.copytree(repository / ".dvc/sample", root / ".dvc/sample")
    made = Checkout(root, repository)
    for command in (
        ("git", "init", "--quiet"),
        ("git", "config", "user.name", "a"),
        ("git", "config", "user.email", "a@example.org"),
        ("git", "add", "--all"),
        ("git", "add", "--force", ".dvc/sample"),
        ("git", "commit", "--quiet", "--message", "Start"),
    ):
        done = made.run(*command)
        assert done.returncode == 0, done.stderr
    return made


def test_the_list_is_of_the_remotes_files_and_their_contents(repository: Path) -> None:
    listed = (repository / ".dvc/sample.md5").read_text().split()
    tracked = subprocess.run(
        ["git", "ls-files", ".dvc/sample"], cwd=repository, check=True, capture_output=True, text=True
    ).stdout.split()
    assert sorted(listed) == sorted("".join(Path(name).parts[-2:]) for name in tracked)
    for name in tracked:
        digest = hashlib.md5((repository / name).read_bytes(), usedforsecurity=False).hexdigest()
        assert digest == "".join(Path(name).parts[-2:]).removesuffix(".dir")


def test_own_pictures_are_not_pushed_where_git_would_publish_them(checkout: Checkout) -> None:
    before = checkout.remote_files()
    checkout.own_pictures()
    # What the guide says not to do: the pointer of the sample stays, and names the sample's remote.
    assert checkout.run("dvc", "add", "data").returncode == 0
    assert yaml.safe_load((checkout.root / "data.dvc").read_text())["outs"][0]["remote"] == "sample"
    checkout.run("dvc", "push")
    checkout.run("dvc", "push", "--remote", "sample", "data.dvc")
    assert checkout.remote_files() == before
    refused = checkout.run(sys.executable, "-m", "pipelines.prepare")
    assert refused.returncode == 1
    assert "dvc remove data.dvc && dvc add data" in refused.stderr
    assert not (checkout.root / "prepared").exists()

    for command in (("dvc", "remove", "data.dvc"), ("dvc", "add", "data")):
        assert checkout.run(*command).returncode == 0
    done = checkout.run(sys.executable, "-m", "pipelines.prepare")
    assert done.returncode == 0, done.stderr
    assert "120 of 120 images kept" in done.stdout


def test_what_reached_the_remote_all_the_same_is_ignored_and_refused(checkout: Checkout) -> None:
    private = Path(".dvc/sample/files/md5/ab/cdef0123456789abcdef0123456789")
    (checkout.root / private).parent.mkdir(parents=True, exist_ok=True)
    (checkout.root / private).write_bytes(b"a face")
    assert checkout.run("git", "add", "--all").returncode == 0
    assert checkout.run("git", "status", "--porcelain").stdout == ""
    refused = checkout.run(sys.executable, "-m", "pipelines.prepare")
    assert refused.returncode == 1
    assert str(private) in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    # Forced into a commit it meets the hook, which lets the sample's own files pass.
    [hook] = [
        hook
        for repo in yaml.safe_load((checkout.root / ".pre-commit-config.yaml").read_text())["repos"]
        for hook in repo["hooks"]
        if hook["id"] == "sample-remote"
    ]
    program, *arguments = hook["entry"].split()
    assert program == ".venv/bin/python"
    own = sorted((checkout.root / ".dvc/sample").rglob("*"))[-1].relative_to(checkout.root)
    assert checkout.run(sys.executable, *arguments, str(own)).returncode == 0
    assert checkout.run(sys.executable, *arguments, str(own), str(private)).returncode == 1
    # The cure that the message names.
    assert "git clean -fdX .dvc/sample" in refused.stderr
    assert checkout.run("git", "clean", "-fdXq", ".dvc/sample").returncode == 0
    assert not (checkout.root / private).exists()
    assert checkout.run("git", "status", "--porcelain").stdout == ""


def make_data(checkout: Checkout) -> subprocess.CompletedProcess[str]:
    """`make data` with the environment that is there."""
    (checkout.root / ".venv").mkdir(exist_ok=True)
    (checkout.root / ".venv/.installed").touch()
    bin_folder = checkout.root / ".venv/bin"
    if not bin_folder.exists():
        bin_folder.symlink_to(Path(sys.executable).parent)
    there = ("--old-file", ".venv/.installed", "--old-file", ".venv/bin/mien")
    return checkout.run("make", *there, "data")


def test_make_fetches_the_sample_and_own_pictures_from_their_own_remotes(
    checkout: Checkout, tmp_path: Path
) -> None:
    assert make_data(checkout).returncode == 0
    assert len(list((checkout.root / "data").rglob("*.jpg"))) == 4200

    checkout.own_pictures()
    for command in (
        ("dvc", "remove", "data.dvc"),
        ("dvc", "remote", "add", "--default", "store", str(tmp_path / "store")),
        ("dvc", "add", "data"),
        ("dvc", "push"),
    ):
        assert checkout.run(*command).returncode == 0
    shutil.rmtree(checkout.root / "data")
    shutil.rmtree(checkout.root / ".dvc/cache")
    done = make_data(checkout)
    assert done.returncode == 0, done.stderr
    assert len(list((checkout.root / "data").rglob("*.png"))) == 120

    # In another clone the remote is not reachable.
    shutil.rmtree(checkout.root / "data")
    shutil.rmtree(checkout.root / ".dvc/cache")
    (tmp_path / "store").rename(tmp_path / "away")
    done = make_data(checkout)
    assert done.returncode != 0
    [cure] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "dvc remote list" in cure
    assert "docs/dataset.md" in cure
    assert not (checkout.root / "data").exists(), "half of the data would pass for all"

    (checkout.root / "data.dvc").unlink()
    done = make_data(checkout)
    assert done.returncode != 0
    assert "dvc add data" in done.stderr
