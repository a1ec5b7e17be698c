"""Rebuild a registered version from its commit: `make reproduce VERSION=n`.

    python -m pipelines.register.reproduce 3                 restores results from the cache if possible
    python -m pipelines.register.reproduce 3 --from-scratch  restores only the data and trains again

The version's commit is cloned into a temporary folder, its data is restored, `dvc repro` makes the model, and
the ONNX file and the test metrics are compared with those in the registry. The exit status is 1 if they
differ. The output lists which stages ran and which were restored from the cache.
The same machine gives the same bytes; another processor may sum floats in a different order.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

from pipelines.core import paths
from pipelines.core.cli import run_stage
from pipelines.core.errors import NotReproducible
from pipelines.core.io import sha256_of
from pipelines.core.lineage import DATA_POINTER, UNKNOWN
from pipelines.core.params import load_params
from pipelines.core.records import as_json, read_record
from pipelines.core.results import Evaluation, read_evaluation
from pipelines.core.variants import architecture_of
from pipelines.register.package import METRICS
from pipelines.register.runs import numbers
from pipelines.run import run
from pipelines.run_record import RunRecord
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import Registry, Version

# Metrics are kept with six decimals.
_TOLERANCE = 1e-6
_LOCAL_CONFIG = Path(".dvc/config.local")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A registered value and the rebuilt one."""

    name: str
    registered: str
    rebuilt: str
    equal: bool


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """Result of rebuilding a version."""

    comparisons: Sequence[Comparison]
    made: Sequence[str]
    """Stages that ran, in this order."""
    restored: Sequence[str]
    """Stages whose results were restored from the cache."""


def reproduce(
    root: Path, registry: Registry, number: int, *, anyway: bool = False, from_scratch: bool = False
) -> Reproduction:
    """Rebuild one version and compare.

    Args:
        root: the checkout; its git history and DVC cache are read but not changed.
        registry: registry that contains the version.
        number: number of the version.
        anyway: continue even if the version was made with uncommitted changes.
        from_scratch: restore only the data from the cache.

    Raises:
        NotReproducible: the commit is unknown or missing, or its pipeline fails.
        RegistryError: the version does not exist.
    """
    version = registry.get(number)
    commit, name = _origin(version, anyway=anyway)
    with registry.downloaded(version) as folder:
        metrics = read_record(folder / METRICS, Evaluation, stage="register")
    cache = _cache(root)
    with tempfile.TemporaryDirectory(prefix="mien-reproduce-") as scratch:
        clone = Path(scratch) / "checkout"
        _clone(root, clone, commit)
        settings = _Settings(root, clone)
        settings.use(cache)
        _restore_data(clone)
        settings.use(None if from_scratch else cache)
        if not from_scratch:
            _restore_results(clone)
        record = _repro(clone, f"evaluate@{architecture_of(name)}")
        return Reproduction(
            comparisons=list(_compare(clone, name, version, metrics)),
            made=[stage for stage, state in record.states.items() if state in ("ran", "idle")],
            restored=[stage for stage, state in record.states.items() if state in ("unchanged", "restored")],
        )


def render(comparisons: Sequence[Comparison]) -> str:
    """Render the comparison as a table for a terminal."""
    lines = [f"{'':<28}{'registered':<20}{'rebuilt':<20}"]
    lines += [
        f"{one.name:<28}{one.registered:<20}{one.rebuilt:<20}{'same' if one.equal else 'DIFFERENT'}"
        for one in comparisons
    ]
    return "\n".join(lines)


def stages_summary(done: Reproduction, number: int) -> str:
    """List the stages that ran and those that were restored."""
    if not done.restored:
        return f"Stages that ran: {', '.join(done.made)}"
    made = f"Stages that ran: {', '.join(done.made)}\n" if done.made else ""
    return (
        f"{made}Restored from the cache: {', '.join(done.restored)}\n"
        f"To run all stages: make reproduce VERSION={number} FROM_SCRATCH=1"
    )


def _origin(version: Version, *, anyway: bool) -> tuple[str, str]:
    commit = version.tags.get("git_commit", UNKNOWN)
    architecture = version.tags.get("architecture")
    if commit == UNKNOWN or architecture is None:
        raise NotReproducible(
            version=version.number,
            reason="its tags lack the commit or the architecture",
            remedy="only versions made by `dvc repro` in a git checkout can be rebuilt",
        )
    if version.tags.get("dirty") == "true":
        if not anyway:
            raise NotReproducible(
                version=version.number,
                reason=f"it was made with changes that are not in its commit {commit[:10]}",
                remedy="add --anyway to rebuild from the commit alone",
            )
        print(f"warning: version {version.number} had uncommitted changes; the commit alone may differ")
    return commit, architecture


def _clone(root: Path, clone: Path, commit: str) -> None:
    try:
        _run(root, "git", "clone", "--quiet", "--no-checkout", "--shared", ".", str(clone))
        _run(clone, "git", "checkout", "--quiet", "--detach", commit)
    except subprocess.CalledProcessError as error:
        raise NotReproducible(
            version=None,
            reason=f"the commit {commit[:10]} cannot be checked out",
            remedy="fetch the branch that contains it (`git fetch --all`)",
        ) from error


class _Settings:
    """DVC's local configuration of the clone, copied from the checkout because it may configure remotes."""

    def __init__(self, root: Path, clone: Path) -> None:
        original = root / _LOCAL_CONFIG
        self._path = clone / _LOCAL_CONFIG
        self._text = original.read_text(encoding="utf-8") if original.exists() else ""

    def use(self, cache: str | None) -> None:
        """Write the configuration with this cache; None: the clone's own, empty cache."""
        parsed = ConfigParser(interpolation=None)
        parsed.read_string(self._text)
        if parsed.has_section("cache"):
            parsed.remove_option("cache", "dir")
        elif cache is not None:
            parsed.add_section("cache")
        if cache is not None:
            parsed.set("cache", "dir", cache)
        with self._path.open("w", encoding="utf-8") as file:
            parsed.write(file)


def _restore_data(clone: Path) -> None:
    """Restore the data from the cache or, if it is missing there, from its remote."""
    if not (clone / DATA_POINTER).exists():
        return
    try:
        _run(clone, *_DVC, "checkout", "--quiet", str(DATA_POINTER))
    except subprocess.CalledProcessError:
        _dvc(clone, "pull", "--quiet", str(DATA_POINTER))


def _restore_results(clone: Path) -> None:
    """Restore the commit's results from the cache, so that `dvc repro` runs only the other stages.

    DVC's run cache is not sufficient: it excludes stages whose results are partly in git.
    """
    _dvc(clone, "checkout", "--quiet", "--allow-missing")


def _compare(clone: Path, name: str, version: Version, metrics: Evaluation) -> Iterator[Comparison]:
    sha256 = sha256_of(clone / paths.onnx_model(name))
    yield Comparison(
        name="model.onnx, sha256",
        registered=(version.sha256 or "")[:16],
        rebuilt=sha256[:16],
        equal=sha256 == version.sha256,
    )
    rebuilt = dict(numbers(as_json(read_evaluation(clone, name).test), "test"))
    for metric, value in numbers(as_json(metrics.test), "test"):
        other = rebuilt.get(metric)
        yield Comparison(
            name=metric,
            registered=f"{value:.6g}",
            rebuilt="–" if other is None else f"{other:.6g}",
            equal=other is not None and abs(other - value) <= _TOLERANCE,
        )


_DVC = (sys.executable, "-m", "dvc")


def _dvc(folder: Path, *arguments: str) -> None:
    try:
        _run(folder, *_DVC, *arguments)
    except subprocess.CalledProcessError as error:
        raise NotReproducible(
            version=None,
            reason=f"`dvc {' '.join(arguments)}` failed at that commit",
            remedy="see its output above; data that is not in a cache must be in the data's remote",
        ) from error


def _repro(clone: Path, stage: str) -> RunRecord:
    record = run(clone, [stage], _environment(clone))
    if not record.succeeded:
        where = f" at stage {record.failed}" if record.failed else ""
        raise NotReproducible(
            version=None,
            reason=f"`dvc repro {stage}` failed{where} at that commit: {record.reason}",
            remedy="see its output above; data that is not in a cache must be in the data's remote",
        )
    return record


def _cache(root: Path) -> str:
    done = subprocess.run(  # noqa: S603 - the arguments are this file's own
        [*_DVC, "cache", "dir"], cwd=root, check=True, capture_output=True, text=True
    )
    return str((root / done.stdout.strip()).resolve())


def _environment(clone: Path) -> dict[str, str]:
    """Return an environment with this interpreter first on PATH, and an MLflow store beside the clone."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
        tracking.TRACKING_URI: f"sqlite:///{clone.resolve().parent / 'mlflow.db'}",
    }
    for name in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "MLFLOW_RUN_ID"):
        environment.pop(name, None)
    return environment


def _run(folder: Path, *command: str) -> None:
    subprocess.run(  # noqa: S603 - see `_cache`
        command, cwd=folder, env=_environment(folder), check=True
    )


def main() -> None:
    """Rebuild the version named on the command line."""
    parser = argparse.ArgumentParser(description="Rebuild a registered version from its commit and compare.")
    parser.add_argument("version", type=int, help="number of the registered version")
    parser.add_argument(
        "--anyway", action="store_true", help="continue even if the version had uncommitted changes"
    )
    parser.add_argument("--from-scratch", action="store_true", help="restore only the data from the cache")
    options = parser.parse_args()
    registry = Registry(load_params().register_.model, uri=tracking.connect())
    found = reproduce(
        Path.cwd(), registry, options.version, anyway=options.anyway, from_scratch=options.from_scratch
    )
    print(f"\n{render(found.comparisons)}\n\n{stages_summary(found, options.version)}")
    different = [one.name for one in found.comparisons if not one.equal]
    if different:
        raise NotReproducible(
            version=options.version,
            reason=f"{len(different)} of {len(found.comparisons)} differ ({', '.join(different[:3])}, …)",
            remedy="compare the machine and its locked packages with those of the original run",
        )


if __name__ == "__main__":
    run_stage(main)
