"""What travels between the coordinator and a node: plain values, which every cluster can serialize."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that a node needs to run one stage."""

    run: str
    """Id of the flow run; name of its folder on a node."""
    stage: str
    force: bool
    repository: str
    """The node fetches from it, see `ClusterSettings.repository`."""
    reference: str
    """A commit there: on top of HEAD, dvc.lock and those results of earlier stages that git keeps."""
    inputs: tuple[str, ...]
    """Paths that DVC pulls before the stage, relative to the repository's root."""
    remote: str
    """Name of the DVC remote."""
    remote_settings: Mapping[str, object] = field(repr=False)
    """Its section of DVC's settings; may hold keys and passwords."""
    environment: Mapping[str, str] = field(repr=False)
    """Variables of the stage in addition to the node's own."""


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What a node pushed to the remote."""

    host: str
    """Name of the machine."""
    cache_entry: str
    """The stage's entry in the remote's run cache, `runs/KEY/…/VALUE` without the first folder."""
