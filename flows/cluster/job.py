"""What travels between the coordinator and a node: plain values, so that any cluster can carry them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Errand:
    """Everything a node needs to know to run one stage."""

    run: str
    """Name of the flow run's folder on a node."""
    stage: str
    force: bool
    repository: str
    """What the node fetches from, see `ClusterSettings.repository`."""
    reference: str
    """A commit there: on top of HEAD, dvc.lock and whatever git keeps of earlier stages' results."""
    inputs: tuple[str, ...]
    """What DVC pulls before the stage, relative to the repository's root."""
    remote: str
    """Name of the DVC remote."""
    remote_settings: Mapping[str, object] = field(repr=False)
    """Its section of DVC's settings; may hold keys and passwords."""
    environment: Mapping[str, str] = field(repr=False)
    """Variables that the stage has beside the node's own."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What a node left in the remote."""

    where: str
    """Name of the machine."""
    entry: str
    """The stage's entry in the remote's run cache, `runs/KEY/…/VALUE` without the first folder."""
