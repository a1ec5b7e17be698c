"""What the follower asks of whatever it follows, a registry or a disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Found:
    """The version that is to be served now."""

    name: str
    version: str
    stamp: str
    """Another one means that the files may be others, even where name and version are the same."""
    source: str
    """URI or path of its files."""
    sha256: str | None = None
    """Of the ONNX file as registered; None where nobody wrote it down."""
    run_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    """What a person should know."""


class Source(Protocol):
    """Something that is followed."""

    def find(self) -> Found:
        """What is to be served now.

        Raises:
            NothingRegistered: it answers, and there is nothing.
            RegistryUnavailable: it does not answer, or not sensibly.
        """

    def fetch(self, found: Found, folder: Path) -> None:
        """Put its files into an empty folder, the ONNX file as `model.onnx`.

        Raises:
            RegistryUnavailable: they cannot be had.
        """
