"""Serve another version: `python -m pipelines.register.promote VERSION`.

Sets the alias `production`, as a click in MLflow's page of the version does. The service follows without a
restart; to roll back, promote the earlier version.
"""

from __future__ import annotations

import argparse

from pipelines.core.cli import run_stage
from pipelines.core.params import load_params
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import PRODUCTION, Registry


def promote(registry: Registry, number: int) -> str:
    """Point `production` at a version; returns what happened, in one line.

    Raises:
        RegistryError: there is no such version.
    """
    version = registry.get(number)
    before = registry.aliased(PRODUCTION)
    if before is not None and before.number == number:
        return f"{registry.name} version {number} is production already"
    registry.set_alias(PRODUCTION, version)
    was = f", in place of version {before.number}" if before else ""
    warning = "; note that the gate rejected it" if version.tags.get("gate") == "failed" else ""
    return f"{registry.name} version {number} is production now{was}{warning}"


def main() -> None:
    """Promote the version named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", type=int, help="number of the registered version")
    number = parser.parse_args().version
    print(promote(Registry(load_params().register_.model, uri=tracking.connect()), number))


if __name__ == "__main__":
    run_stage(main)
