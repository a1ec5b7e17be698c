"""What a run did, from the lines that DVC prints into a pipe and onto a terminal."""

from __future__ import annotations

import pytest

from pipelines.run_record import RunRecord

LINES = (
    "'data.dvc' didn't change, skipping",
    "Stage 'prepare' didn't change, skipping",
    "Stage 'validate' is cached - skipping run, checking out outputs",
    "Running stage 'weights':",
    "> python -m pipelines.weights",
    "Running stage 'train@vgg':",
    "> python -m pipelines.train vgg",
    "vgg  epoch 1 ██░░  loss 1.9",
    "error: loss is not a number; lower the rate",
    "ERROR: failed to reproduce 'train@vgg': failed to run: python -m pipelines.train vgg, exited with 1",
)


@pytest.mark.parametrize(
    ("before", "after"), [("", ""), ("", "\r\r"), ("\r\x1b[2Kvgg  10 %\r\x1b[2K\x1b[31m", "\x1b[0m\r")]
)
def test_a_terminal_s_decorations_change_nothing(before: str, after: str) -> None:
    record = RunRecord()
    for line in LINES:
        record.read(f"{before}{line}{after}")
    record.end(1)
    record.note_idle(["weights"])
    assert record.states == {
        "prepare": "unchanged", "validate": "restored", "weights": "idle", "train@vgg": "failed",
    }  # fmt: skip
    assert (record.failed, record.reason) == ("train@vgg", "loss is not a number; lower the rate")
    assert record.active == ["validate"]
    assert [name for name in record.states if record.is_current(name)] == ["prepare", "validate", "weights"]
    assert not record.is_current("compare")


def test_a_run_that_dvc_ends_before_any_stage() -> None:
    record = RunRecord()
    record.read("ERROR: 'dvc.yaml' is invalid: extra keys")
    record.end(255)
    assert (record.failed, record.reason, record.succeeded) == (
        None,
        "'dvc.yaml' is invalid: extra keys",
        False,
    )


def test_a_stage_that_ran_is_not_unchanged_because_a_later_command_finds_it_so() -> None:
    record = RunRecord()
    first, second = RunRecord(), RunRecord()
    first.read("Running stage 'train@vgg':")
    first.read("Stage 'train@lenet' is cached - skipping run, checking out outputs")
    first.end(0)
    for line in ("train@vgg", "train@lenet", "prepare"):
        second.read(f"Stage '{line}' didn't change, skipping")
    second.read("Running stage 'compare':")
    second.end(0)
    record.add(first)
    record.add(second)
    assert record.succeeded
    assert record.states == {
        "train@vgg": "ran",
        "train@lenet": "restored",
        "prepare": "unchanged",
        "compare": "ran",
    }


def test_the_first_failure_is_the_one_that_is_reported() -> None:
    record = RunRecord()
    for name in ("vgg", "lenet"):
        one = RunRecord()
        one.read(f"Running stage 'train@{name}':")
        one.read(f"error: {name} is broken")
        one.read(f"ERROR: failed to reproduce 'train@{name}': it ended with 1")
        one.end(255)
        record.add(one)
    assert (record.failed, record.reason, record.status) == ("train@vgg", "vgg is broken", 255)
    assert set(record.states.values()) == {"failed"}
