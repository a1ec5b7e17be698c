"""Record of one `dvc repro`: the state of each stage, read from DVC's output and from `dvc.lock`.

The summary of a run uses this record instead of checking which files exist, because a result of an earlier
run has the same path as a result of this run.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

State = Literal["ran", "idle", "unchanged", "restored", "failed"]
"""`idle`: an `always_changed` stage ran and changed nothing; `restored`: from the run cache."""

UNCHANGED = re.compile(r"^Stage '(?P<stage>[^']+)' didn't change, skipping")
RESTORED = re.compile(r"^Stage '(?P<stage>[^']+)' is cached - skipping run")
_RUNNING = re.compile(r"^Running stage '(?P<stage>[^']+)'")
_FAILED = re.compile(r"^ERROR: failed to reproduce '(?P<stage>[^']+)'")
_STARTS: dict[State, re.Pattern[str]] = {"ran": _RUNNING, "unchanged": UNCHANGED, "restored": RESTORED}
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

# Lines that DVC prints in addition to the reason.
_ADVICE = ("Having any troubles?", "If there are no processes with such PIDs", "Hint:", "WARNING:")
_KEPT_LINES = 200
"""Enough for a traceback and the lines that DVC prints after it."""
_LOCK = Path("dvc.lock")
_STAGES = Path("dvc.yaml")
_MISSING = "the process ended without a message"


@dataclass
class RunRecord:
    """States of the stages of a run, in the order in which they were reached."""

    states: dict[str, State] = field(default_factory=dict)
    """State of every stage that was reached."""
    status: int | None = None
    """Exit status of `dvc repro`; None while it runs."""
    failed: str | None = None
    """The stage that failed; None if no stage failed, also if DVC failed before the first stage."""
    reason: str = ""
    """Why the run failed, in one line; empty if it succeeded."""
    _lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))

    @property
    def succeeded(self) -> bool:
        """Whether `dvc repro` succeeded."""
        return self.status == 0

    @property
    def active(self) -> list[str]:
        """Stages that ran or were restored from the run cache."""
        return [name for name, state in self.states.items() if state in ("ran", "restored")]

    def is_current(self, stage: str) -> bool:
        """Whether the results of `stage` are current: made in this run, or found up to date."""
        return self.states.get(stage, "failed") != "failed"

    def add(self, later: RunRecord) -> None:
        """Add the record of a later command of the same run: a stage that ran is then found unchanged."""
        for stage, state in later.states.items():
            if state not in ("unchanged", "idle") or stage not in self.states:
                self.states[stage] = state
        if self.failed is None and not self.reason:
            self.failed, self.reason = later.failed, later.reason
        if self.status in (None, 0):
            self.status = later.status

    def read(self, line: str) -> None:
        """Process one line of output of `dvc repro` or a stage."""
        # On a terminal, lines end with carriage returns, and a progress line overwrites itself.
        text = _ESCAPES.sub("", line).rstrip().rpartition("\r")[2]
        for state, pattern in _STARTS.items():
            if found := pattern.match(text):
                self.states[found["stage"]] = state
                self._lines.clear()
        if found := _FAILED.match(text):
            self.states[found["stage"]] = "failed"
            self.failed = found["stage"]
        if text:
            self._lines.append(text)

    def end(self, status: int) -> None:
        """Close the record.

        Args:
            status: exit status of `dvc repro`.
        """
        self.status = status
        if status != 0:
            self.reason = failure_reason(self._lines) or _MISSING

    def note_idle(self, stages: Iterable[str]) -> None:
        """Correct the state of stages that ran and changed nothing."""
        for stage in stages:
            if self.states.get(stage) == "ran":
                self.states[stage] = "idle"


def failure_reason(lines: Iterable[str]) -> str:
    """Find why a stage failed: its `error: …`, the end of its traceback, or DVC's message; may be empty."""
    lines = list(lines)
    of_dvc = [line for line in lines if line.startswith("ERROR: ")]
    of_stage = [line for line in lines if not line.startswith("ERROR: ")]
    ran = any(_RUNNING.match(line) for line in lines)
    # DVC shows the command; the output of the stage follows it.
    output = [line for line in of_stage if not _RUNNING.match(line) and not line.startswith("> ")]
    return (last_reason("\n".join(output)) if ran else "") or last_reason("\n".join(of_dvc))


def last_reason(output: str) -> str:
    """Find why a stage, DVC or git failed: its last `error: …`, otherwise its last line; may be empty."""
    lines = [line.strip() for line in output.splitlines()]
    candidates = [line for line in lines if line and not line.startswith(_ADVICE)]
    for prefix in ("error: ", "fatal: ", "ERROR: "):
        if found := [line for line in candidates if line.startswith(prefix)]:
            return re.sub(r"\s+", " ", found[-1].removeprefix(prefix))
    return candidates[-1] if candidates else ""


def locked_results(root: Path, *, stage: str | None = None) -> dict[str, object]:
    """Read from `dvc.lock` the outputs of stages that run every time (`always_changed`).

    Args:
        root: the checkout.
        stage: only this stage; the result is empty if the stage does not run every time.
    """
    try:
        stages = read_yaml(root / _STAGES)["stages"]
        always = {name for name, one in stages.items() if one.get("do", one).get("always_changed")}
        wanted = always if stage is None else always & {stage}
        locked = read_yaml(root / _LOCK)["stages"] if wanted else {}
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return {}  # DVC reports what is wrong with the files
    return {name: locked[name].get("outs") for name in wanted & locked.keys()}


def maker(root: Path, result: Path) -> str | None:
    """Find the stage of dvc.yaml that writes a result; None if no stage does."""
    try:
        stages = read_yaml(root / _STAGES)["stages"]
        for name, stage in stages.items():
            for out in stage.get("outs", ()):
                if (out if isinstance(out, str) else next(iter(out))) == str(result):
                    return str(name)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return None  # DVC reports what is wrong with the file
    return None


def idle_stages(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """List stages that run every time and left their outputs unchanged."""
    return [name for name, outs in after.items() if outs and before.get(name) == outs]


def read_yaml(path: Path) -> Any:
    """Read one of DVC's YAML files."""
    # libyaml's loader, if available, reads a lock file of 90 kB in a tenth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - both are safe loaders
