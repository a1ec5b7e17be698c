"""Where containers of docker-compose.yml are on this machine: ports on loopback, folders for volumes.

A text of the file (a variable's value, an argument, a script) is read as a container's and comes out with
this machine's addresses: of `postgres:5432`, `0.0.0.0`, `/var/lib/mien`, `/tmp`, the container's own port.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Where the programs listen in their containers.
PORTS = {
    "postgres": 5432, "store": 8333, "mlflow": 5000, "prefect": 4200, "api": 8000, "evidently": 8000,
    "proxy": 8080, "prometheus": 9090,
}  # fmt: skip
_HOST = re.compile(rf"\b({'|'.join(PORTS)}):(\d+)\b")
_ENV = re.compile(r"^ENV ((?:.*\\\n)*.*)$", re.MULTILINE)
_COPY = re.compile(r"^COPY (\w+) /app/(\w+)$", re.MULTILINE)
_GIT = re.compile(r"git config --system (?:--add )?(\S+) (\S+)")


@dataclass(frozen=True, kw_only=True)
class Place:
    """One container's."""

    port: int
    """Where it listens here."""
    own: int
    """Where it listens in its container."""
    ports: Mapping[str, int]
    """Of all others, by the name of their service."""
    folders: Mapping[str, Path]
    """By path in the container."""

    def here(self, text: str) -> str:
        """The text with this machine's addresses."""
        if text == str(self.own):
            return str(self.port)
        text = _HOST.sub(self._address, text)
        text = re.sub(rf"\b(?:0\.0\.0\.0|127\.0\.0\.1):{self.own}\b", f"127.0.0.1:{self.port}", text)
        text = text.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - what is replaced
        known = "|".join(sorted(map(re.escape, self.folders), key=len, reverse=True))
        return re.sub(rf"(?<![\w.-])(?:{known})(?![\w-])", lambda found: str(self.folders[found[0]]), text)

    def _address(self, found: re.Match[str]) -> str:
        known = int(found[2]) == PORTS[found[1]]
        return f"127.0.0.1:{self.ports[found[1]]}" if known else found[0]


def folders(service: Mapping[str, Any], *, own: Path, volumes: Path, repository: Path) -> dict[str, Path]:
    """A container's volumes, its memory and its program's folder, which are made.

    Args:
        service: of the compose file.
        own: for what no other container sees.
        volumes: for named volumes, which containers may share.
        repository: in which the compose file stands.
    """
    found = {"/tmp": own / "tmp", "/app": own / "app"}  # noqa: S108 - the container's
    for path in found.values():
        path.mkdir(parents=True, exist_ok=True)
    for volume in service.get("volumes", ()):
        source, target = volume.split(":")[:2]
        if source.startswith("./"):
            found[target] = repository / source
        else:
            found[target] = volumes / source
            found[target].mkdir(parents=True, exist_ok=True)
    return found


@dataclass(frozen=True, kw_only=True)
class Image:
    """What a Dockerfile's last stage says."""

    environment: Mapping[str, str]
    programs: tuple[str, ...]
    """Folders of the repository that lie in /app."""
    git: Mapping[str, str]
    """The system's git configuration."""


def read_image(dockerfile: Path) -> Image:
    """The image of a Dockerfile."""
    text = dockerfile.read_text(encoding="utf-8")
    stage = text[text.rindex("\nFROM ") :]
    words = [word for block in _ENV.findall(stage) for word in shlex.split(block.replace("\\\n", " "))]
    variables = dict(word.split("=", 1) for word in words)
    return Image(
        environment={name: value for name, value in variables.items() if name != "PATH"},
        programs=tuple(source for source, target in _COPY.findall(text) if source == target),
        git={name: value.strip("'") for name, value in _GIT.findall(stage)},
    )
