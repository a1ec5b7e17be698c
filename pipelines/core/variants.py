"""Forms of one trained network that are evaluated side by side: `lenet` in float32 and `lenet-int8`.

A variant's name is its architecture's with a suffix, as in its contract; its files lie where an
architecture's do, under that name (`onnx/lenet-int8/model.onnx`). No architecture has a hyphen in its name,
each being a module.
"""

from __future__ import annotations

from collections.abc import Iterable

SCRATCH = "scratch"
"""Origin of random weights, as `pipelines.weights.pretrained` writes it; it imports all architectures."""
NOT_PRETRAINED = "(not pretrained)"
"""In the display name of an architecture that is meant to start from pretrained weights and did not."""
_PRETRAINED = "(pretrained)"
_INT8 = "-int8"


def int8_of(architecture: str) -> str:
    """Name of its quantised variant: `lenet` → `lenet-int8`."""
    return f"{architecture}{_INT8}"


def architecture_of(name: str) -> str:
    """The architecture of a variant, which is also the name of its float32 model."""
    return name.removesuffix(_INT8)


def is_int8(name: str) -> bool:
    """Whether this is the name of a quantised variant."""
    return name.endswith(_INT8)


def variants_of(architecture: str) -> tuple[str, ...]:
    """All forms of one architecture, the float one first."""
    return (architecture, int8_of(architecture))


def all_variants(architectures: Iterable[str]) -> tuple[str, ...]:
    """All variants of all architectures; the variants of one architecture are adjacent."""
    return tuple(name for one in architectures for name in variants_of(one))


def display_name(title: str, name: str, *, weights: str) -> str:
    """What a variant is called in tables, plots, cards, MLflow and the page.

    Args:
        title: of the architecture; it may promise pretrained weights.
        name: of the variant.
        weights: where its training started: `scratch`, `imagenet`, …
    """
    if weights == SCRATCH:
        title = title.replace(_PRETRAINED, NOT_PRETRAINED)
    return f"{title}, int8" if is_int8(name) else title
