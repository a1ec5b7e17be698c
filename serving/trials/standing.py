"""Whether a candidate can stand beside the live model, and why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from serving.runtime.identity import ModelIdentity
from serving.runtime.live import LiveModel

State = Literal["running", "waiting", "stopped", "paused"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a canary stands."""

    state: State
    reason: str
    """Why; for people."""
    candidate: ModelIdentity | None = None
    """That gets its share, or would."""


def compared(
    live: LiveModel | None, candidate: LiveModel | None, *, absent: bool, location: str, waiting: str
) -> Standing:
    """What the two models say; `running` when nothing speaks against it.

    Args:
        live: the live model.
        candidate: the candidate.
        absent: whether nothing is named as candidate any more, though one may still be loaded.
        location: where candidates come from, for people.
        waiting: why there is none yet, for people.
    """
    if live is None:
        return Standing(state="waiting", reason="no model is live")
    if absent:
        return Standing(state="stopped", reason=f"{location} names no model")
    if candidate is None:
        return Standing(state="waiting", reason=waiting)
    identity = candidate.identity
    name = f"version {identity.version}"
    if identity.sha256 == live.identity.sha256:
        return Standing(state="stopped", reason=f"{name} is live for everybody", candidate=identity)
    ours, theirs = live.contract.classes, candidate.contract.classes
    if set(ours) != set(theirs):
        reason = f"{name} tells other emotions ({', '.join(theirs)}) than the live model ({', '.join(ours)})"
        return Standing(state="stopped", reason=reason, candidate=identity)
    return Standing(state="running", reason=name, candidate=identity)
