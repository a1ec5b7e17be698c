"""Every setting the run had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.report.inputs import Inputs
from pipelines.report.page import Section

_NESTED = ("models", "quantization")
"""Blocks of blocks: each network's settings stand on their own."""


def section(inputs: Inputs) -> Section:
    """One small table for each block of `params.yaml`, nested keys with dots."""
    return Section(
        id="parameters",
        title="Parameters",
        short="Parameters",
        context={"blocks": [(name, list(_flat(block))) for name, block in _blocks(inputs.settings)]},
    )


def _blocks(settings: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "run", {key: value for key, value in settings.items() if not isinstance(value, Mapping)}
    for key, value in settings.items():
        if key in _NESTED:
            yield from ((f"{key}.{name}", block) for name, block in value.items())
        elif isinstance(value, Mapping):
            yield key, value


def _flat(block: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in block.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _text(value)


def _text(value: object) -> str:
    """As YAML would write it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    return str(value)
