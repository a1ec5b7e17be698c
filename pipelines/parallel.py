"""Runs the stages of several networks at the same time, before `dvc repro` runs all others.

`dvc repro` runs one stage at a time, and a stage that imports libraries or traces a graph uses one core: of
two cores a whole run used 1.4 (docs/benchmarks.md). Each network's stages run in one process of DVC, in their
order; its lock keeps two processes out of `dvc.lock`. The results are the same as one after the other.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

from pipelines.core import paths
from pipelines.run_record import RunRecord, read_yaml
from serving.cores import usable_cores

_EACH = "${architectures}"
_MOST = 4
"""Networks at the same time at most: each is a TensorFlow process, which itself uses several cores."""
_PRINTING = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class NetworkStages:
    """The stages of dvc.yaml that each network has, and those that all networks need first."""

    shared: tuple[str, ...]
    """Stages before those of the networks."""
    networks: Mapping[str, tuple[str, ...]]
    """Architecture → its own stages, in their order."""


def read_network_stages(root: Path) -> NetworkStages:
    """Read dvc.yaml and params.yaml; without networks if one of them cannot be read, which DVC explains."""
    try:
        stages = read_yaml(root / "dvc.yaml")["stages"]
        architectures = read_yaml(root / paths.PARAMS)["architectures"]
        own = [name for name, stage in stages.items() if stage.get("foreach") == _EACH]
        shared = tuple(stages)[: tuple(stages).index(own[0])]
        return NetworkStages(
            shared=shared, networks={one: tuple(f"{name}@{one}" for name in own) for one in architectures}
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, IndexError):
        return NetworkStages(shared=(), networks={})


def without_results(root: Path, stages: NetworkStages) -> list[str]:
    """Networks that were never evaluated here, as in a fresh clone."""
    return [one for one in stages.networks if not (root / paths.evaluation_predictions(one)).exists()]


def default_jobs() -> int:
    """How many networks run at the same time unless the user says it."""
    return min(usable_cores(), _MOST)


def run_networks(
    root: Path, stages: NetworkStages, environment: Mapping[str, str], *, jobs: int
) -> RunRecord:
    """Bring the stages of all networks up to date.

    Args:
        root: the checkout.
        stages: of the networks.
        environment: all environment variables of DVC and the stages.
        jobs: networks at the same time.

    Returns:
        The record of all stages. If one fails, its successors do not run, and those of other networks do.

    Raises:
        KeyboardInterrupt: the user pressed Ctrl-C, which the stages got too; they have ended.
    """
    record = RunRecord()
    if stages.shared:
        record.add(_reproduce(root, stages.shared, environment))
        if not record.succeeded:
            return record
    pool = ThreadPoolExecutor(jobs)
    try:
        running = [pool.submit(_reproduce, root, own, environment) for own in stages.networks.values()]
        for one in running:
            record.add(one.result())
    finally:
        pool.shutdown(cancel_futures=True)
    return record


def _reproduce(root: Path, stages: Sequence[str], environment: Mapping[str, str]) -> RunRecord:
    """Run these stages in their order; their output goes to standard output, line by line."""
    record = RunRecord()
    # With one pipeline for each network, DVC would run what they share several times, and at the same time.
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", *stages]
    with subprocess.Popen(  # noqa: S603 - the command is this file's own
        command,
        cwd=root,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as child:
        for line in child.stdout or ():
            record.read(line)
            with _PRINTING:
                sys.stdout.write(line)
                sys.stdout.flush()
    record.end(child.returncode)
    return record
