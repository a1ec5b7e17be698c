"""The table of architectures, filled by the `architecture` decorator."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import ParamsError
from pipelines.params import check_architecture

Pooling = Literal["average", "flatten", "token"]
"""Feature map → vector: mean over positions, all values, or the class token of a transformer."""


class Options(BaseModel):
    """Base of an architecture's own settings (`models.NAME.options`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NoOptions(Options):
    """For an architecture that has none."""


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What a transformer's builder returns (`pooling="token"`)."""

    tokens: Any
    """float32 [batch, 1 + rows · columns, D] after the last block; index 0 is the class token."""
    attentions: tuple[Any, ...]
    """One float32 [batch, heads, tokens, tokens] per block, first block first; rows sum to 1."""
    grid: tuple[int, int]
    """Rows and columns of patches."""


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Where an architecture's pretrained weights are to be had."""

    origin: str
    """As the contract names it: `imagenet`, or `hf:…` completed from the options."""
    file: str | None = None
    """Name of Keras' own weights file; None where the options name a checkpoint."""
    url: str | None = None
    """Folder the file is published in."""
    sha256: str | None = None
    """Published hash of the file, where there is one."""
    md5: str | None = None
    """Keras publishes MD5 for its older files."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One entry of the table."""

    name: str
    title: str
    """For people: tables and plots."""
    reference: str
    """The paper."""
    pooling: Pooling
    options: type[Options]
    build: Callable[[Any, Any], Any]
    """(image tensor, options) → feature map, or `Tokens`."""
    pretrained: Pretrained | None

    def parse_options(self, values: Mapping[str, Any]) -> Options:
        """Check `models.NAME.options`.

        Raises:
            ParamsError: an unknown key or a value out of range.
        """
        try:
            return self.options.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise ParamsError(
                key=f"models.{self.name}.options.{key}", got=first["input"], expected=first["msg"]
            ) from error


# Name of an architecture → its entry; filled when its file is imported.
_ARCHITECTURES: dict[str, Architecture] = {}


def architecture(
    *,
    title: str,
    reference: str,
    pooling: Pooling,
    options: type[Options] = NoOptions,
    pretrained: Pretrained | None = None,
) -> Callable[[Callable[[Any, Any], Any]], Callable[[Any, Any], Any]]:
    """Register the decorated builder under its function's name."""

    def register(build: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        name = build.__name__
        _ARCHITECTURES[name] = Architecture(
            name=name,
            title=title,
            reference=reference,
            pooling=pooling,
            options=options,
            build=build,
            pretrained=pretrained,
        )
        return build

    return register


def load_architecture(name: str) -> Architecture:
    """Import the file of one architecture and return its entry.

    Raises:
        UnknownArchitecture: there is no such file.
    """
    check_architecture(name)
    importlib.import_module(f"pipelines.architectures.{name}")
    return _ARCHITECTURES[name]
