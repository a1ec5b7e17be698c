"""Single stages of a real DVC repository: how they end is decided by exit statuses."""

from __future__ import annotations

import os

import pytest

from flows.repro.commands import environment, run_dvc
from flows.repro.executor import LocalExecutor

PIPELINE = """
stages:
  good:
    cmd: echo done > good.txt
    outs: [good.txt]
  busy:
    cmd: "echo 'error: the store is busy' >&2; exit 75"
  killed:
    cmd: kill -9 $$
  wrong:
    cmd: "echo 'error: database is locked, Connection refused' >&2; exit 1"
"""


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> LocalExecutor:
    root = tmp_path_factory.mktemp("project")
    variables = environment(os.environ)
    assert run_dvc(["init", "--no-scm", "--quiet"], root, variables).status == 0
    (root / "dvc.yaml").write_text(PIPELINE)
    return LocalExecutor(root, variables)


@pytest.mark.parametrize(
    ("stage", "kind"),
    [
        ("good", "ran"),
        ("good", "unchanged"),
        ("busy", "interrupted"),
        ("killed", "interrupted"),
        ("wrong", "failed"),
    ],
)
def test_the_exit_status_decides(executor: LocalExecutor, stage: str, kind: str) -> None:
    lines: list[str] = []
    assert executor.run(stage, on_line=lines.append).kind == kind
    assert any(stage in line for line in lines)


def test_the_reason_is_the_stage_s_own(executor: LocalExecutor) -> None:
    assert executor.run("busy").message == "the store is busy"
    assert executor.run("good", force=True).kind == "ran"


def test_a_stage_that_does_not_exist_fails(executor: LocalExecutor) -> None:
    outcome = executor.run("other")
    assert outcome.kind == "failed"
    assert "other" in outcome.message
