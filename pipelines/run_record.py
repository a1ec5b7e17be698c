"""What one `dvc repro` did, stage by stage: read from what it prints while it runs, and from `dvc.lock`.

Everything that is printed after a run comes from this record, not from files that happen to exist: a result
of an earlier run lies at the same place as one of this run.
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
"""`idle`: it ran, as an `always_changed` stage does, and changed nothing; `restored`: from the run cache."""

UNCHANGED = re.compile(r"^Stage '(?P<stage>[^']+)' didn't change, skipping")
RESTORED = re.compile(r"^Stage '(?P<stage>[^']+)' is cached - skipping run")
_RUNNING = re.compile(r"^Running stage '(?P<stage>[^']+)'")
_FAILED = re.compile(r"^ERROR: failed to reproduce '(?P<stage>[^']+)'")
_STARTS: dict[State, re.Pattern[str]] = {"ran": _RUNNING, "unchanged": UNCHANGED, "restored": RESTORED}
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

# What dvc says on the way, which is no reason.
_ADVICE = ("Having any troubles?", "If there are no processes with such PIDs", "Hint:", "WARNING:")
_KEPT_LINES = 200
"""Enough for a traceback and what dvc says after it."""
_LOCK = Path("dvc.lock")
_STAGES = Path("dvc.yaml")
_MISSING = "the process ended without a word"


@dataclass
class RunRecord:
    """What happened in a run, in the order in which it happened."""

    states: dict[str, State] = field(default_factory=dict)
    """Of every stage that was reached."""
    status: int | None = None
    """Exit status of `dvc repro`; None while it runs."""
    failed: str | None = None
    """The stage that failed; None in a failed run where dvc stopped before any stage."""
    reason: str = ""
    """Why the run failed, in one line; empty after a good end."""
    _lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))

    @property
    def succeeded(self) -> bool:
        """Whether `dvc repro` ended well."""
        return self.status == 0

    @property
    def active(self) -> list[str]:
        """Stages that did something."""
        return [name for name, state in self.states.items() if state in ("ran", "restored")]

    def is_current(self, stage: str) -> bool:
        """Whether the results of `stage` are those of this run: made, or found to be what it would make."""
        return self.states.get(stage, "failed") != "failed"

    def read(self, line: str) -> None:
        """Take in one line that `dvc repro` or a stage printed."""
        # On a terminal lines end with one or more returns, and a moving line is written over itself.
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

    def end(self, status: int, *, idle: Iterable[str] = ()) -> None:
        """Close the record.

        Args:
            status: exit status of `dvc repro`.
            idle: stages that changed nothing where they ran.
        """
        self.status = status
        for stage in idle:
            if self.states.get(stage) == "ran":
                self.states[stage] = "idle"
        if status != 0:
            self.reason = failure_reason(self._lines) or _MISSING


def failure_reason(lines: Iterable[str]) -> str:
    """Why a stage failed: its own `error: …`, the end of its traceback, or what dvc says; may be empty."""
    lines = list(lines)
    of_dvc = [line for line in lines if line.startswith("ERROR: ")]
    of_stage = [line for line in lines if not line.startswith("ERROR: ")]
    ran = any(_RUNNING.match(line) for line in lines)
    # Below the command that dvc shows stands what the stage said.
    said = [line for line in of_stage if not _RUNNING.match(line) and not line.startswith("> ")]
    return (last_reason("\n".join(said)) if ran else "") or last_reason("\n".join(of_dvc))


def last_reason(output: str) -> str:
    """What a stage, dvc or git said when it failed: its last `error: …`, else its last line; may be empty."""
    lines = [line.strip() for line in output.splitlines()]
    said = [line for line in lines if line and not line.startswith(_ADVICE)]
    for prefix in ("error: ", "fatal: ", "ERROR: "):
        if found := [line for line in said if line.startswith(prefix)]:
            return re.sub(r"\s+", " ", found[-1].removeprefix(prefix))
    return said[-1] if said else ""


def locked_results(root: Path, *, stage: str | None = None) -> dict[str, Any]:
    """What `dvc.lock` says of the outputs of stages that run every time (`always_changed`).

    Args:
        root: the checkout.
        stage: only this one; nothing where it runs only when it has to.
    """
    try:
        stages = read_yaml(root / _STAGES)["stages"]
        always = {name for name, one in stages.items() if one.get("do", one).get("always_changed")}
        wanted = always if stage is None else always & {stage}
        locked = read_yaml(root / _LOCK)["stages"] if wanted else {}
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return {}  # dvc says what is wrong with them
    return {name: locked[name].get("outs") for name in wanted & locked.keys()}


def maker(root: Path, result: Path) -> str | None:
    """The stage of dvc.yaml that writes a result; None where there is none."""
    try:
        stages = read_yaml(root / _STAGES)["stages"]
        for name, stage in stages.items():
            for out in stage.get("outs", ()):
                if (out if isinstance(out, str) else next(iter(out))) == str(result):
                    return str(name)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return None  # dvc says what is wrong with it
    return None


def idle_stages(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Stages that run every time and left the same outputs as there were."""
    return [name for name, outs in after.items() if outs and before.get(name) == outs]


def read_yaml(path: Path) -> Any:
    """Read one of DVC's files; `dvc.lock` is large."""
    # libyaml's loader, where there is one, reads a lock of 90 kB in a tenth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - both are safe loaders
