"""A copy of this checkout in a folder of its own, with small data: for end-to-end tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

NOT_COPIED = (".dvc/sample", "dvc.lock", "evaluations/", "models/", "onnx/", "reports/", "validation/")


@dataclass(frozen=True)
class Project:
    """One copy, a git and DVC repository."""

    root: Path

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy, with this interpreter's environment first on the path."""
        done = subprocess.run(
            command, cwd=self.root, env=self.environment(**environment), capture_output=True, text=True
        )
        assert not check or done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done

    def environment(self, **more: str) -> dict[str, str]:
        """This process's variables, with the interpreter's folder first on PATH.

        Without those that lead out of the copy: MLflow sets MLFLOW_TRACKING_URI when it is given one.
        """
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MLFLOW_TRACKING", "MIEN_", "DVC_EXP"))
        }
        return kept | {"PATH": path, "DVC_NO_ANALYTICS": "1"} | more

    def ran(self, output: str) -> list[str]:
        """Names of the stages that `dvc repro` really executed, in order."""
        return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")]

    def edit_params(self, **changes: object) -> None:
        """Set parameters: `edit_params(**{"models.lenet.epochs": 2})`."""
        path = self.root / "params.yaml"
        values = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            *parents, last = key.split(".")
            block = values
            for name in parents:
                block = block[name]
            block[last] = value
        path.write_text(yaml.safe_dump(values, sort_keys=False))

    def restore(self) -> None:
        """Return to the last commit and its results, also after a stage that failed."""
        self.run("git", "checkout", "--quiet", "--", ".")
        self.run("dvc", "checkout", "--quiet", "--force")

    def commit(self, message: str) -> None:
        """Commit everything in the copy."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)


def copy_project(checkout: Path, root: Path, *, whole: bool = False) -> Project:
    """Copy what git knows or would know of `checkout`, as it is in the working tree.

    Args:
        checkout: to copy from.
        root: to copy to.
        whole: with the sample and the recorded results, as a clone has them.
    """
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=checkout, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        # Without the whole, the copy makes its own pictures and its own results.
        if (checkout / name).is_file() and (whole or not name.startswith(NOT_COPIED)):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(checkout / name, root / name)
    project = Project(root)
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.run("git", "config", "user.name", "test")
    project.run("git", "config", "user.email", "test@example.invalid")
    return project
