"""A history of model switches that tests can read."""

from __future__ import annotations

from typing import Literal

from serving.inference.model_slot import ModelIdentity, ModelSignature


class RecordedSwitches:
    """Implements `serving.model_sync.watcher.History`."""

    def __init__(self) -> None:
        self.switches: list[tuple[str | None, str, str]] = []
        """Version before, version now, reason."""
        self.promoted_by: list[str | None] = []
        """Of each switch."""
        self.signatures: list[ModelSignature | None] = []
        """Of each switch."""

    def record_switch(
        self,
        time: float,
        previous: ModelIdentity | None,
        current: ModelIdentity,
        reason: str,
        *,
        kind: Literal["live", "canary"],
        promoted_by: str | None = None,
        signature: ModelSignature | None = None,
    ) -> None:
        self.switches.append((previous.version if previous else None, current.version, reason))
        self.promoted_by.append(promoted_by)
        self.signatures.append(signature)
