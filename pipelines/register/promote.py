"""Promote a registered version to production: `python -m pipelines.register.promote VERSION`.

This sets the alias `production`, as the MLflow UI does. The service loads the version without a restart; to
roll back, promote the earlier version.
"""

from __future__ import annotations

import argparse

from pipelines.core.cli import run_stage
from pipelines.core.params import load_params
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import PRODUCTION, Registry

_WARNINGS = {
    "failed": "; warning: the quality gate rejected it",
    "held": "; warning: the quality gate could not show that it is not worse",
}
"""What is said about a version with this tag `gate`."""


def promote(registry: Registry, number: int) -> str:
    """Set the alias `production` on a version; return a message in one line.

    Raises:
        RegistryError: the version does not exist.
    """
    version = registry.get(number)
    before = registry.aliased(PRODUCTION)
    if before is not None and before.number == number:
        return f"{registry.name} version {number} is already in production"
    registry.set_alias(PRODUCTION, version)
    replaced = f", replacing version {before.number}" if before else ""
    warning = _WARNINGS.get(version.tags.get("gate", ""), "")
    return f"{registry.name} version {number} is now in production{replaced}{warning}"


def main() -> None:
    """Promote the version named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", type=int, help="number of the registered version")
    number = parser.parse_args().version
    print(promote(Registry(load_params().register_.model, uri=tracking.connect()), number))


if __name__ == "__main__":
    run_stage(main)
