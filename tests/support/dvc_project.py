"""A real DVC project whose stages are shell commands: it has the pipeline's shape and takes seconds."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from pipelines.core.records import as_json
from tests.support.results import verdict

REPOSITORY = Path(__file__).resolve().parents[2]

STAGES = """
stages:
  prepare:
    cmd: wc -c data/faces.txt > prepared.txt
    deps: [data]
    outs: [prepared.txt]
  train:
    foreach: ${architectures}
    do:
      cmd: sh train.sh ${item}
      deps: [prepared.txt, train.sh]
      params: [seed, "models.${item}"]
      outs:
      - models/${item}/weights.txt
      - models/${item}/record.txt:
          cache: false
  measure:
    cmd: cat models/*/weights.txt > measured.txt; ls running.* > beside.txt 2>/dev/null; true
    meta: {alone: true}
    deps: [models]
    outs: [measured.txt]
  judge:
    cmd: sh judge.sh
    deps: [measured.txt, judge.sh]
    params: [architectures]
    outs:
    - reports/gate.json:
        cache: false
"""

# Lines as the real training prints them. Beside the clones lie notes that a test leaves for it: `meet` waits
# for the other one, `hold-NAME` waits, `once-NAME` (temporarily) and `fail-NAME` are printed and it fails.
TRAIN = """
notes=../..; [ -d $notes/workspaces ] || notes=.
echo $1 >> $notes/executed
if [ -e .checkpoints/$1 ]; then echo "$1  resuming after epoch 1"; echo $1 >> $notes/resumed; fi
mkdir -p .checkpoints; touch .checkpoints/$1 running.$1
if [ -e $notes/once-$1 ]; then cat $notes/once-$1 >&2; rm $notes/once-$1; exit 75; fi
if [ -e $notes/fail-$1 ]; then cat $notes/fail-$1 >&2; exit 1; fi
if [ -e $notes/meet ]; then while [ $(ls running.* | wc -l) -lt 2 ]; do sleep 0.1; done; sleep 1; fi
echo "$1  epoch 1 (train 1/2)  100 images/s  0:01 left  loss 1.0"
while [ -e $notes/hold-$1 ]; do sleep 0.1; done
echo "$1 $(cat prepared.txt)" > models/$1/weights.txt
echo "$1" > models/$1/record.txt
echo "$1  epoch 2 (train 2/2)  100 images/s  0:00 left  loss 0.5"
rm .checkpoints/$1 running.$1
"""

JUDGE = """
mkdir -p reports
cp gate.json reports/gate.json
"""

GATE = json.dumps(as_json(verdict([])))


@dataclass(frozen=True)
class DvcProject:
    """A git and DVC repository."""

    root: Path

    def run(self, *command: str, check: bool = True) -> str:
        """Output of a command in the project."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command,
            cwd=self.root,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def commit(self, message: str = "Change") -> str:
        """Commit everything; the commit's hash."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)
        return self.run("git", "rev-parse", "HEAD").strip()

    def branches(self) -> list[str]:
        """Names of all branches."""
        return self.run("git", "branch", "--format", "%(refname:short)").split()

    def file(self, branch: str, name: str) -> str:
        """A file as a branch has it."""
        return self.run("git", "show", f"{branch}:{name}")

    def note(self, name: str, text: str = "") -> Path:
        """Leave the training script a note, see `TRAIN`."""
        path = self.root / ".mien" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def executed(self) -> list[str]:
        """Names that the training script was called with in any clone, since this was last asked."""
        log = self.root / ".mien" / "executed"
        names = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return names


def new_project(root: Path, *, stages: str = STAGES) -> DvcProject:
    """A new project with this repository's parameters, everything committed."""
    shutil.copytree(_template(), root, dirs_exist_ok=True)
    project = DvcProject(root)
    if stages != STAGES:
        project.write("dvc.yaml", stages)
        project.run("git", "commit", "--quiet", "--all", "--amend", "--no-edit")
    return project


@cache
def _template() -> Path:
    """Made once: `dvc init` and `dvc add` take seconds."""
    folder = Path(tempfile.mkdtemp(prefix="mien-project-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    project = DvcProject(folder / "project")
    project.root.mkdir()
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.run("git", "config", "user.name", "test")
    project.run("git", "config", "user.email", "test@example.invalid")
    project.run("dvc", "init", "--quiet")
    shutil.copytree(REPOSITORY / "conf", project.root / "conf")
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text()) | {"architectures": ["lenet", "vgg"]}
    project.write("params.yaml", yaml.safe_dump(params, sort_keys=False))
    project.write("dvc.yaml", STAGES)
    project.write("train.sh", TRAIN)
    project.write("judge.sh", JUDGE)
    project.write("gate.json", GATE)
    project.write("data/faces.txt", "faces")
    project.write(".gitignore", "/data\n/.mien/\n/running.*\n/beside.txt\n.checkpoints/\n")
    project.run("dvc", "add", "--quiet", "data")
    project.commit("Start")
    return project.root
