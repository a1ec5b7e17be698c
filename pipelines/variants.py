"""Forms of one trained network that are evaluated side by side: `lenet` in float32 and `lenet-int8`.

A variant's name is its architecture's with a suffix, as in its contract; its files lie where an
architecture's do, under that name (`onnx/lenet-int8/model.onnx`). No architecture has a hyphen in its name,
each being a module.
"""

from __future__ import annotations

from collections.abc import Iterable

_INT8 = "-int8"


def int8_of(architecture: str) -> str:
    """Name of its quantised variant: `lenet` → `lenet-int8`."""
    return f"{architecture}{_INT8}"


def architecture_of(name: str) -> str:
    """The architecture that a variant is a form of, which is also the name of its float twin."""
    return name.removesuffix(_INT8)


def is_int8(name: str) -> bool:
    """Whether this is the name of a quantised variant."""
    return name.endswith(_INT8)


def variants_of(architecture: str) -> tuple[str, ...]:
    """All forms of one architecture, the float one first."""
    return (architecture, int8_of(architecture))


def all_variants(architectures: Iterable[str]) -> tuple[str, ...]:
    """All forms of all of them, twins beside each other."""
    return tuple(name for one in architectures for name in variants_of(one))
