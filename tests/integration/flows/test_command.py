"""Every sub-command of `mien` answers `--help` with the packages of its extras and no others."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from flows.command import COMMANDS

PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^\s;\\]+)(?: ; (?P<marker>[^\\]+))?", re.M
)
OWN = {"flows", "pipelines", "serving", "sample_faces", "_distutils_hack", "_virtualenv"}
WITHOUT = """
import contextlib, io, json, os, runpy, sys

LACKING, MODULES = json.loads(sys.argv[1]), json.loads(sys.argv[2])


class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in LACKING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Lacking())
sys.path.insert(0, os.getcwd())
answers = {}
for module in MODULES:
    sys.argv = [module, "--help"]
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = None
    except SystemExit as end:
        status = end.code
    except Exception as error:
        status = repr(error)
    answers[module] = status, out.getvalue()
print(json.dumps(answers))
"""
BY_EXTRAS: dict[tuple[str, ...], list[str]] = {}
for _command in COMMANDS:
    if _command.module is not None:
        BY_EXTRAS.setdefault(_command.extras, []).append(_command.module)


def _installed(repository: Path, extras: tuple[str, ...]) -> set[str]:
    """Packages that the lock files of some extras install; without extras, what the project always needs."""
    if not extras:
        project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
        return {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    text = "\n".join((repository / "requirements" / f"{extra}.txt").read_text() for extra in extras)
    return {
        canonicalize_name(match["name"])
        for match in PIN.finditer(text)
        if match["marker"] is None or Marker(match["marker"].strip()).evaluate()
    }


@pytest.mark.parametrize("extras", BY_EXTRAS, ids=lambda extras: "+".join(extras) or "none")
def test_every_module_answers_help_with_the_packages_of_its_extras(
    extras: tuple[str, ...], repository: Path
) -> None:
    names = _installed(repository, extras)
    lacking = {
        module
        for module, owners in packages_distributions().items()
        if module.isidentifier() and not {canonicalize_name(owner) for owner in owners} & names
    } - OWN
    assert lacking
    done = subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT, json.dumps(sorted(lacking)), json.dumps(BY_EXTRAS[extras])],
        cwd=repository, env=os.environ | {"COLUMNS": "80"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    assert {module: status for module, (status, _) in answers.items()} == dict.fromkeys(BY_EXTRAS[extras], 0)
    assert all("usage: " in text for _, text in answers.values())


def test_the_help_of_run_names_that_of_dvc_repro_and_reports_no_run(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "flows/command.py", "run", "--help"],
        cwd=repository, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "--jobs N" in done.stdout
    assert "dvc repro --help" in done.stdout
    assert "make serve" not in done.stdout
