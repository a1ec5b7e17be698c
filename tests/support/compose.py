"""docker-compose.yml as Docker would see it: variables filled in, anchors merged."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

# `${NAME}`, `${NAME:-default}`, `${NAME:?message}`; https://compose-spec.io, "Interpolation".
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")


class MissingVariable(Exception):
    """Compose would refuse to start."""


def filled(text: str, variables: Mapping[str, str]) -> str:
    """The text with its variables' values."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match["name"], match["kind"], match["rest"] or ""
        if given := variables.get(name):
            return given
        if kind == "?":
            raise MissingVariable(f"{name} {rest}")
        return rest

    return VARIABLE.sub(value, text)


def compose(repository: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """The whole file."""
    text = (repository / "docker-compose.yml").read_text(encoding="utf-8")
    without_comments = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return dict(yaml.safe_load(filled(without_comments, variables)))


def new_variables(repository: Path, folder: Path) -> dict[str, str]:
    """What `deploy/new-env` writes into a folder's `.env`."""
    subprocess.run(
        [sys.executable, repository / "deploy" / "new-env"], cwd=folder, check=True, capture_output=True
    )
    return variables_in(folder / ".env")


def variables_in(path: Path) -> dict[str, str]:
    """Those that a file of variables sets."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    return dict(line.split("=", 1) for line in lines)
