"""Workflows, Dependabot and pre-commit fit their schemas, and run what exists."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

WORKFLOWS = ("check", "audit", "deploy", "metrics", "published", "python", "release")


def workflow(repository: Path, name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((repository / ".github/workflows" / f"{name}.yml").read_text()))


def steps(given: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in given["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize(
    ("schema", "files"),
    [("github-workflows", ".github/workflows/*.yml"), ("dependabot", ".github/dependabot.yml")],
)
def test_files_fit_their_schema(schema: str, files: str, repository: Path) -> None:
    paths = sorted(repository.glob(files))
    done = subprocess.run(
        ["check-jsonschema", "--builtin-schema", f"vendor.{schema}", *paths], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_workflow_is_known(repository: Path) -> None:
    assert {path.stem for path in (repository / ".github/workflows").iterdir()} == set(WORKFLOWS)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_rights_are_few_and_given_where_they_are_needed(name: str, repository: Path) -> None:
    given = workflow(repository, name)
    assert given["permissions"] == {"contents": "read"}
    for job in given["jobs"].values():
        assert job["timeout-minutes"] <= 90
        assert job["runs-on"] == "ubuntu-24.04"
        # Who may write does not run what a pull request brought along.
        if "write" in job.get("permissions", {}).values() and name != "release":
            assert not any("checkout" in step.get("uses", "") for step in job["steps"])
    for step in steps(given):
        if "actions/checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("name", WORKFLOWS)
def test_nothing_of_an_event_is_pasted_into_a_shell(name: str, repository: Path) -> None:
    """A branch or a title may hold commands: they reach scripts as variables only."""
    for step in steps(workflow(repository, name)):
        expressions = re.findall(r"\$\{\{\s*(\S+)\s*\}\}", step.get("run", ""))
        assert all(expression.startswith("matrix.") for expression in expressions), step["run"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_commands_are_the_repositorys_own(name: str, repository: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    for step in steps(workflow(repository, name)):
        for line in step.get("run", "").splitlines():
            if line.startswith("make "):
                assert {word for word in line.split()[1:] if "=" not in word} <= targets, line
            if line.startswith("."):
                assert (repository / line.split()[0]).is_file(), line


def test_shell_of_every_step_parses(repository: Path) -> None:
    for name in WORKFLOWS:
        for step in steps(workflow(repository, name)):
            script = re.sub(r"\$\{\{[^}]*\}\}", "value", step.get("run", "true"))
            subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_every_image_is_built_on_a_tag_with_provenance_and_a_bill_of_materials(repository: Path) -> None:
    job = workflow(repository, "release")["jobs"]["images"]
    images = {path.name.split(".")[0] for path in (repository / "deploy/docker").glob("*.Dockerfile")}
    assert set(job["strategy"]["matrix"]["image"]) == images
    (build,) = [step for step in job["steps"] if "build-push-action" in step.get("uses", "")]
    assert build["with"]["provenance"] == "mode=max"
    assert build["with"]["sbom"] is True
    arguments = {line.split("=")[0] for line in build["with"]["build-args"].splitlines()}
    # What somebody who needs it builds in addition (docs/signing.md).
    assert "SIGNING" not in arguments
    for image in images:
        text = (repository / "deploy/docker" / f"{image}.Dockerfile").read_text()
        assert arguments == set(re.findall(r"^ARG (\w+)", text, re.MULTILINE)) - {"SIGNING"}


def test_pre_commit_runs_tools_of_the_locked_environment(repository: Path) -> None:
    path = repository / ".pre-commit-config.yaml"
    subprocess.run(["pre-commit", "validate-config", path], check=True)
    hooks = [hook for repo in yaml.safe_load(path.read_text())["repos"] for hook in repo["hooks"]]
    locked = (repository / "requirements/dev.txt").read_text()
    packages = {"lint-imports": "import-linter"}
    for hook in hooks:
        program = hook["entry"].split()[0]
        name = program.removeprefix(".venv/bin/")
        if name == "python":
            assert importlib.util.find_spec(hook["entry"].split()[2]), hook["entry"]
        elif name != "false":
            assert re.search(rf"^{packages.get(name, name)}==", locked, re.MULTILINE), name


def test_no_dangerous_call_is_new(repository: Path) -> None:
    done = subprocess.run(
        ["bandit", "--quiet", "--recursive", "--severity-level", "medium", "--configfile", "pyproject.toml",
         "serving", "pipelines", "flows"],
        cwd=repository, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
