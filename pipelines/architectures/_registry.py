"""The table of architectures, filled by the `architecture` decorator."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.core.errors import ParamsError
from pipelines.core.params import check_architecture

SHORT_TRAINING = 0.9
"""Batch-norm momentum for trainings of some hundred steps, PyTorch's default.

The 0.99 and 0.999 of keras.applications suit ImageNet's hundred thousands: after a few hundred, most of the
running statistics would still be the initial 0 and 1, and a network trained from scratch would answer every
picture alike. With pretrained weights the statistics are frozen and this has no effect.
"""

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
    """Source of the pretrained weights of an architecture with given options.

    Either one of Keras' own files (`file`, `keras_module`) or a Hugging Face checkpoint (`checkpoint`).
    """

    origin: str
    """As the contract names it: `imagenet`, or `hf:ORGANISATION/NAME`."""
    file: str | None = None
    """Name of Keras' weights file."""
    md5: str | None = None
    """Of `file`, where Keras publishes one (its `WEIGHTS_HASHES`)."""
    keras_module: str | None = None
    """Module below `keras.src.applications` that knows where `file` is published."""
    checkpoint: str | None = None
    """`hf://ORGANISATION/NAME`: a folder with `config.json` and `model.safetensors`."""


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
    pretrained: Callable[[Any], Pretrained | None] | None
    """options → where their pretrained weights are; None where there are none."""
    min_px: int
    """Smallest side of a picture the network takes."""
    batch_norm_momentum: float | None
    """Of every running mean and variance; None leaves what the builder chose."""
    complete: Callable[[Any, Path], Any] | None
    """(options, checkpoint folder) → options with the numbers of the checkpoint's configuration."""
    load: Callable[[Any, Path], None] | None
    """(backbone, file or checkpoint folder): load the weights; None is `backbone.load_weights`."""

    def parse_options(self, values: Mapping[str, Any]) -> Options:
        """Check `models.NAME.options`.

        Raises:
            ParamsError: an unknown key or a value out of range.
        """
        try:
            return self.options.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(("models", self.name, "options", *(str(part) for part in first["loc"])))
            raise ParamsError(key=key, got=first["input"], expected=first["msg"]) from error

    def pretrained_weights(self, values: Mapping[str, Any]) -> Pretrained | None:
        """Source of weights for these options (`models.NAME.options`); None if there is none.

        Raises:
            ParamsError: an unknown key or a value out of range.
        """
        return self.pretrained(self.parse_options(values)) if self.pretrained else None


# Name of an architecture → its entry; filled when its file is imported.
_ARCHITECTURES: dict[str, Architecture] = {}


def architecture(
    *,
    title: str,
    reference: str,
    pooling: Pooling,
    options: type[Options] = NoOptions,
    pretrained: Callable[[Any], Pretrained | None] | None = None,
    min_px: int = 8,
    batch_norm_momentum: float | None = None,
    complete: Callable[[Any, Path], Any] | None = None,
    load: Callable[[Any, Path], None] | None = None,
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
            min_px=min_px,
            batch_norm_momentum=batch_norm_momentum,
            complete=complete,
            load=load,
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
