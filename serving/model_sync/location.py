"""Model locations: `models:/emotion@production`, `…/3`, `…/Production`, or a path.

As in MLflow, `@` introduces an alias and `/` a version or a stage.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serving.errors.operation import LocationInvalid

MODEL_FILE = "model.onnx"
TRACKING_URI = "MIEN_TRACKING_URI"
"""Variable that passes the registry's address to a child process; other users cannot read it."""
STAGES = ("None", "Staging", "Production", "Archived")
"""MLflow's stages; like MLflow, `parse_location` accepts `latest` as well."""

_SCHEME = "models:/"
# A colon or a slash would count as part of the URI, a quote as part of a search expression.
_NAME = r"[^/:@'\"]+"
# Without a folder or a suffix: probably the name of a registered model, not a file that will be created.
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
    """An ONNX file, or a folder with `model.onnx`; it need not exist yet."""

    path: Path
    """Absolute path."""

    def __str__(self) -> str:
        return str(self.path)


Location = Registered | OnDisk


def parse_location(text: str, *, setting: str = "MIEN_MODEL") -> Location:
    """Parse a model location; `setting` names the setting it comes from, for messages.

    Raises:
        LocationInvalid: neither a model URI nor a path.
    """
    text = text.strip()
    if any("\ud800" <= character <= "\udfff" for character in text):
        # Every answer contains the location, and JSON requires valid Unicode.
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
            reason=f"{value!r} is not a stage ({', '.join(STAGES)}); use models:/{name}@{value} for an alias",
            setting=setting,
        )
    return Registered(name=name, by="stage", value=stage)
