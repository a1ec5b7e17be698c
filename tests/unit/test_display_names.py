"""What an architecture is called, by where its training started."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.compare import render
from pipelines.core.variants import display_name
from tests.support.results import comparison, evaluation, row

TITLE = "ViT (pretrained)"


@pytest.mark.parametrize(
    ("title", "name", "weights", "expected"),
    [
        (TITLE, "vit_pretrained", "hf:google/vit-base-patch16-224", "ViT (pretrained)"),
        (TITLE, "vit_pretrained", "scratch", "ViT (not pretrained)"),
        (TITLE, "vit_pretrained-int8", "scratch", "ViT (not pretrained), int8"),
        ("VGG-like", "vgg", "scratch", "VGG-like"),
        ("MobileNetV2", "mobilenet_v2-int8", "imagenet", "MobileNetV2, int8"),
    ],
)
def test_a_name_promises_pretrained_weights_only_where_they_were_used(
    title: str, name: str, weights: str, expected: str
) -> None:
    assert display_name(title, name, weights=weights) == expected


@pytest.mark.parametrize("weights", ["scratch", "hf:google/vit"])
def test_the_table_says_so_where_the_key_promises_more(weights: str) -> None:
    title = display_name(TITLE, "vit_pretrained", weights=weights)
    known = replace(evaluation("vit_pretrained"), title=title, weights=weights)
    assert ("ViT (not pretrained)" in render(comparison("vit_pretrained", [row(known)]))) is (
        weights == "scratch"
    )
