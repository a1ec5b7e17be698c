"""What dvc's exit status and words mean for the run."""

from __future__ import annotations

import os
import signal

import pytest

from flows.errors import ClusterError
from flows.repro.commands import CommandResult, environment
from flows.repro.stages import error_outcome, read_outcome
from flows.repro.tasks import INTERRUPTED, RESTORED, UNCHANGED, state_of
from pipelines.run_record import idle_stages, last_reason

RUNNING = ["Running stage 'train@vgg':", "> python -m pipelines.train vgg"]
DVC = "ERROR: failed to reproduce 'train@vgg': failed to run: python -m pipelines.train vgg, exited with {}"


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ([*RUNNING, "Updating lock file 'dvc.lock'"], "Completed"),
        (["Stage 'train@vgg' didn't change, skipping", "Data and pipelines are up to date."], UNCHANGED),
        (["Stage 'train@vgg' is cached - skipping run, checking out outputs"], RESTORED),
    ],
)
def test_good_end_is_completed_and_says_whether_anything_ran(lines: list[str], name: str) -> None:
    state = state_of(read_outcome("train@vgg", 0, lines))
    assert (state.is_completed(), state.name) == (True, name)


def test_a_stage_that_runs_every_time_and_changes_nothing_is_unchanged() -> None:
    assert read_outcome("weights", 0, RUNNING, idle=True).kind == "unchanged"
    before = {"weights": [{"md5": "1"}], "register": [{"md5": "2"}]}
    after = {"weights": [{"md5": "1"}], "register": [{"md5": "3"}], "machine": [{"md5": "4"}]}
    assert idle_stages(before, after) == ["weights"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ["error: loss is not a number; lower the rate", DVC.format(1)],
            "loss is not a number; lower the rate",
        ),
        (["Traceback (most recent call last):", "ValueError: odd", DVC.format(1)], "ValueError: odd"),
        (["error: first", "error: last", "", DVC.format(1)], "last"),
    ],
)
def test_failure_is_reported_in_the_stage_s_own_words(lines: list[str], said: str) -> None:
    outcome = read_outcome("train@vgg", 1, [*RUNNING, *lines])
    assert (outcome.kind, outcome.message) == ("failed", said)


def test_failure_before_the_stage_is_reported_in_dvc_s_words() -> None:
    outcome = read_outcome(
        "train@vgg", 255, ["ERROR: 'dvc.yaml' is invalid: extra keys", "Hint: have a look"]
    )
    assert (outcome.kind, outcome.message) == ("failed", "'dvc.yaml' is invalid: extra keys")


@pytest.mark.parametrize("line", ["error: the store is busy; wait for it", "ValueError: odd", ""])
def test_a_temporary_failure_has_its_own_exit_status(line: str) -> None:
    outcome = read_outcome("train@vgg", os.EX_TEMPFAIL, [*RUNNING, line, DVC.format(75)])
    assert outcome.kind == "interrupted"
    assert state_of(outcome).name == INTERRUPTED


WORDS = [
    "error: sqlite:///mlruns/mlflow.db: the database is locked by another process; wait for it",
    "requests.exceptions.ConnectionError: ('Connection aborted.', RemoteDisconnected())",
    "ERROR: Unable to acquire lock. Most likely another DVC process is running",
    "ERROR: failed to run: python -m pipelines.train vgg, exited with 137",
]


@pytest.mark.parametrize("line", WORDS)
def test_the_words_of_a_failure_do_not_decide(line: str) -> None:
    assert read_outcome("train@vgg", 1, [*RUNNING, line, DVC.format(1)]).kind == "failed"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError("by the peer"), "interrupted"),
        (TimeoutError(), "interrupted"),
        (ClusterError(what="remote", reason="it is busy", remedy="wait", temporary=True), "interrupted"),
        # The type and the field decide, not the words.
        (ClusterError(what="remote", reason="timed out", remedy="correct it"), "failed"),
        (ValueError("Connection refused"), "failed"),
    ],
)
def test_an_exception_is_temporary_by_its_type_or_field(error: Exception, kind: str) -> None:
    outcome = error_outcome("train@vgg", error, host="node-3")
    assert outcome.kind == kind
    assert outcome.message.startswith("node-3: ")


def test_kill_by_the_kernel_passes_by_itself() -> None:
    outcome = read_outcome("train@vgg", 128 + signal.SIGKILL, [*RUNNING, "vgg  epoch 3"])
    assert outcome.kind == "interrupted"
    assert "out of memory" in outcome.message


@pytest.mark.parametrize(
    "line",
    [
        "error: 2 critical expectation(s) failed: every class has 10 images",
        "error: vgg did not pass the gate: accuracy is 0.1, but at least 0.4 is required",
        "error: params.yaml: seed: got 'x', expected a number; edit params.yaml",
    ],
)
def test_verdict_on_data_or_model_does_not(line: str) -> None:
    assert read_outcome("verdict", 1, [*RUNNING, line, DVC.format(1)]).kind == "failed"


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("fatal: repository 'x' does not exist\n", "repository 'x' does not exist"),
        ("ERROR: cannot   read\nHaving any troubles? Hit us up", "cannot read"),
        ("something else\n\n", "something else"),
        ("", ""),
    ],
)
def test_last_reason_of_a_command(output: str, reason: str) -> None:
    assert last_reason(output) == reason
    assert CommandResult(3, output).reason == (reason or "it ended with status 3")


def test_commands_inherit_nothing_that_leads_out_of_their_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "PATH": "/usr/bin", "GIT_DIR": "/elsewhere/.git", "DVC_EXP_NAME": "mine", "PREFECT__FLOW_RUN_ID": "1",
        "MIEN_WEIGHTS_DIR": "weights", "LANG": "C",
    }  # fmt: skip
    variables = environment(given, MORE="yes")
    assert not {"GIT_DIR", "DVC_EXP_NAME", "PREFECT__FLOW_RUN_ID"} & variables.keys()
    assert variables["LANG"] == "C"
    assert variables["MORE"] == "yes"
    assert variables["MIEN_WEIGHTS_DIR"].startswith("/")
    assert variables["PATH"].endswith(":/usr/bin")
