"""Promote a registered version to production: `python -m pipelines.register.promote VERSION`.

This sets the alias `production`, as the MLflow UI does, and writes the user onto the version, as the UI does
not. The service loads the version without a restart; to
roll back, promote the earlier version.
"""

from __future__ import annotations

import argparse
import getpass
import os

from pipelines.core.cli import run_stage
from pipelines.core.errors import OptionError
from pipelines.core.params import load_params
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import PRODUCTION, Registry

_WARNINGS = {
    "failed": "; warning: the quality gate rejected it",
    "held": "; warning: the quality gate could not show that it is not worse",
}
"""What is said about a version with this tag `gate`."""


def promote(registry: Registry, number: int, *, by: str) -> str:
    """Set the alias `production` on a version; return a message in one line.

    Args:
        registry: of the model.
        number: of the version.
        by: user, for the version's tag `promoted_by` and the service's `/model/history`.

    Raises:
        RegistryError: the version does not exist.
    """
    version = registry.get(number)
    before = registry.aliased(PRODUCTION)
    if before is not None and before.number == number:
        return f"{registry.name} version {number} is already in production"
    registry.promote(version, by=by)
    replaced = f", replacing version {before.number}" if before else ""
    warning = _WARNINGS.get(version.tags.get("gate", ""), "")
    return f"{registry.name} version {number} is now in production{replaced}{warning}"


def main() -> None:
    """Promote the version named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", type=int, help="number of the registered version")
    parser.add_argument(
        "--by", default=_user(), metavar="USER", help="user to write onto the version (%(default)s)"
    )
    arguments = parser.parse_args()
    if not arguments.by.strip():
        raise OptionError(option="--by", got=repr(arguments.by), expected="the name of a user")
    registry = Registry(load_params().register_.model, uri=tracking.connect())
    print(promote(registry, arguments.version, by=arguments.by.strip()))


def _user() -> str:
    """The user of the tracking server, else of this machine."""
    try:
        return os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    except (KeyError, OSError):  # containers may run under a number without a name
        return f"uid {os.getuid()}"


if __name__ == "__main__":
    run_stage(main)
