"""Settings of the cluster engines, from the environment."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.errors import ParametersInvalid

ADDRESS = "MIEN_CLUSTER_ADDRESS"
REPOSITORY = "MIEN_CLUSTER_REPOSITORY"
GPUS = "MIEN_CLUSTER_GPUS"
SCRATCH_FOLDER = "MIEN_CLUSTER_SCRATCH"


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """How the coordinator reaches its nodes, and they the repository."""

    address: str | None
    """Of a running cluster: `ray://HOST:10001`, `tcp://HOST:8786`. None starts one on this machine."""
    repository: str
    """Git URL or path that nodes fetch from and the coordinator pushes to."""
    gpus: int
    """How many a stage asks the cluster for."""


def cluster_settings(checkout: Path, given: Mapping[str, str] = os.environ) -> ClusterSettings:
    """Read the coordinator's settings.

    Raises:
        ParametersInvalid: the number of GPUs is none.
    """
    gpus = given.get(GPUS, "").strip() or "0"
    if not gpus.isdecimal():
        raise ParametersInvalid(parameter=GPUS, got=gpus, expected="a whole number, 0 or more")
    return ClusterSettings(
        address=given.get(ADDRESS, "").strip() or None,
        repository=given.get(REPOSITORY, "").strip() or str(checkout.absolute()),
        gpus=int(gpus),
    )


def scratch_folder(given: Mapping[str, str] = os.environ) -> Path:
    """Where a node keeps its clones and DVC's cache while a run lasts."""
    return Path(given.get(SCRATCH_FOLDER, "").strip() or Path(tempfile.gettempdir()) / f"mien-{os.getuid()}")
