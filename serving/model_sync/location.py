"""What is followed: `models:/emotion@production`, `…/3`, `…/Production`, or a path.

An alias wins over a stage where both could be meant; MLflow itself tells them apart by `@` and `/`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serving.errors import LocationInvalid

MODEL_FILE = "model.onnx"
TRACKING_URI = "MIEN_TRACKING_URI"
"""Variable that gives a child process the registry's address, where no other user can read it."""
STAGES = ("None", "Staging", "Production", "Archived")
"""MLflow's own; `latest` is accepted beside them, as MLflow does."""

_SCHEME = "models:/"
# A colon or a slash would be read as part of the URI, a quote as part of a search.
_NAME = r"[^/:@'\"]+"
# Neither a folder in it nor an ending: the name of a registered model, rather than a file that will come.
_BARE_NAME = re.compile(r"[^/.:@'\"~]+")
_ALIAS = re.compile(rf"(?P<name>{_NAME})@(?P<alias>[\w.-]+)")
_VERSION = re.compile(rf"(?P<name>{_NAME})/(?P<version>[\w-]+)")


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A version of a registered model, chosen by an alias, a stage or its number."""

    name: str
    by: Literal["alias", "stage", "version", "latest"]
    value: str
    """The alias, the stage in MLflow's spelling, the number, or `latest`."""

    def __str__(self) -> str:
        separator = "@" if self.by == "alias" else "/"
        return f"{_SCHEME}{self.name}{separator}{self.value}"


@dataclass(frozen=True, kw_only=True)
class OnDisk:
    """An ONNX file, or a folder with `model.onnx`; it may not be there yet."""

    path: Path
    """Absolute."""

    def __str__(self) -> str:
        return str(self.path)


Location = Registered | OnDisk


def parse_location(text: str, *, setting: str = "MIEN_MODEL") -> Location:
    """Read a model location; `setting` is where it comes from, for messages.

    Raises:
        LocationInvalid: neither a model URI nor a path.
    """
    text = text.strip()
    if any("\ud800" <= character <= "\udfff" for character in text):
        # Every answer carries it, and JSON takes valid Unicode only.
        raise LocationInvalid(got=text, reason="this is not valid UTF-8; rename the file", setting=setting)
    if text.startswith("models:"):
        return _registered(text, setting)
    if not text or "://" in text or text.startswith("runs:"):
        raise LocationInvalid(
            got=text, reason="this is neither a registered model nor a path", setting=setting
        )
    path = Path(text).expanduser().absolute()
    if _BARE_NAME.fullmatch(text) and not path.exists():
        raise LocationInvalid(
            got=text,
            reason=f"there is no such file; a registered model is models:/{text}@production, a path ./{text}",
            setting=setting,
        )
    return OnDisk(path=path)


def _registered(text: str, setting: str) -> Registered:
    rest = text.removeprefix("models:").lstrip("/")
    if match := _ALIAS.fullmatch(rest):
        return Registered(name=match["name"], by="alias", value=match["alias"])
    match = _VERSION.fullmatch(rest)
    if match is None:
        raise LocationInvalid(got=text, reason="alias, version or stage is missing", setting=setting)
    name, value = match["name"], match["version"]
    if value.isdigit():
        return Registered(name=name, by="version", value=str(int(value)))
    if value.lower() == "latest":
        return Registered(name=name, by="latest", value="latest")
    stage = next((stage for stage in STAGES if stage.lower() == value.lower()), None)
    if stage is None:
        raise LocationInvalid(
            got=text,
            reason=f"{value!r} is no stage ({', '.join(STAGES)}); write models:/{name}@{value} for an alias",
            setting=setting,
        )
    return Registered(name=name, by="stage", value=stage)
