"""The network of the guide on architectures, as printed, and its parameters."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.architectures import Architecture, _registry
from pipelines.core.errors import ParamsError
from pipelines.core.params import ModelParams, QuantizationParams

PAGE = Path(__file__).resolve().parents[3] / "docs/architectures.md"
NAME = "squeeze"


def block(language: str) -> str:
    """The guide's first block in a language."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def entry(tmp_path: Path) -> Architecture:
    """What the decorator of the guide's file registers."""
    file = tmp_path / f"{NAME}.py"
    file.write_text(block("python"))
    runpy.run_path(str(file))
    return _registry._ARCHITECTURES.pop(NAME)


def test_the_network_is_what_its_text_says(entry: Architecture) -> None:
    import keras

    features: Any = entry.build(keras.Input((64, 64, 3)), entry.parse_options({}))
    assert features.shape == (None, 8, 8, 256)
    narrower: Any = entry.build(keras.Input((64, 64, 3)), entry.parse_options({"squeeze": [4, 4]}))
    assert narrower.shape == (None, 16, 16, 32)


@pytest.mark.parametrize("options", [{"squeze": [8]}, {"squeeze": []}], ids=["unknown", "empty"])
def test_wrong_options_are_refused(entry: Architecture, options: dict[str, Any]) -> None:
    with pytest.raises(ParamsError, match=rf"models\.{NAME}\.options"):
        entry.parse_options(options)


def test_its_parameters_are_taken() -> None:
    given = yaml.safe_load(block("yaml"))
    assert NAME in given["architectures"]
    ModelParams.model_validate(given["models"][NAME])
    QuantizationParams.model_validate(given["quantization"][NAME])
