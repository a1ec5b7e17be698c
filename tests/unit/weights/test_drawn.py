"""Files of drawn weights: round trip, what they say about themselves, and what does not fit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from pipelines.core.params import ModelParams
from pipelines.weights.drawn import (
    SHIPPED,
    DrawnCard,
    problem_with_drawn,
    read_card,
    read_drawn,
    shape_options,
    write_drawn,
)


def settings(**options: object) -> ModelParams:
    """The block of an architecture in `params.yaml`, with some options."""
    return ModelParams(epochs=1, learning_rate=1e-3, options=options)


def card(architecture: str = "mobilenet_v2", **options: object) -> DrawnCard:
    """What a file says, with some options."""
    return DrawnCard(
        architecture=architecture,
        options=shape_options(architecture, settings(**options)),
        pictures=100,
        steps=3,
        sizes_px=[32, 64],
        processor_s=1.5,
        figures={"action_unit_r": 0.5},
    )


def variables() -> Mapping[str, np.ndarray]:
    """Kernels with channels of very different magnitude, a vector and a number."""
    rng = np.random.default_rng(3)
    magnitudes = np.array([1e-4, 1.0, 30.0, 0.0])
    return {
        "convolution/kernel": (rng.normal(size=(3, 3, 5, 4)) * magnitudes).astype(np.float32),
        "depthwise/kernel": (rng.normal(size=(3, 3, 4, 1)) * magnitudes[:, None]).astype(np.float32),
        "dense/kernel": (rng.normal(size=(7, 4)) * magnitudes).astype(np.float32),
        "norm/gamma": rng.normal(size=6).astype(np.float32),
        # As EfficientNet's Normalization has one.
        "normalization/count": np.array(7, np.int32),
    }


def test_each_channel_comes_back_within_half_a_step(tmp_path: Path) -> None:
    written = variables()
    write_drawn(tmp_path / "a.safetensors", written, card())
    read = read_drawn(tmp_path / "a.safetensors")
    assert [values.shape for values in read] == [values.shape for values in written.values()]
    for (name, expected), got in zip(written.items(), read, strict=True):
        assert got.dtype == np.float32
        if expected.ndim < 2:
            np.testing.assert_array_equal(got, expected)
            continue
        axis = 2 if name.startswith("depthwise") else -1
        largest = np.abs(np.moveaxis(expected, axis, -1)).reshape(-1, 4).max(axis=0)
        error = np.abs(np.moveaxis(got - expected, axis, -1)).reshape(-1, 4).max(axis=0)
        assert (error <= largest / 127 / 2 * (1 + 1e-5)).all()


def test_a_weight_takes_one_byte(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(400, 300)).astype(np.float32)
    write_drawn(tmp_path / "a.safetensors", {"dense/kernel": values}, card())
    assert (tmp_path / "a.safetensors").stat().st_size < values.size + 300 * 4 + 2000


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    write_drawn(tmp_path / "a.safetensors", variables(), card(alpha=0.5))
    assert read_card(tmp_path / "a.safetensors") == card(alpha=0.5)


def test_options_that_change_no_shape_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_drawn(path, variables(), card("vit_pretrained", width=48, heads=4))
    same = {"width": 48, "heads": 4, "dropout": 0.1, "checkpoint": None}
    assert problem_with_drawn(path, "vit_pretrained", settings(**same)) is None


@pytest.mark.parametrize(
    ("architecture", "options", "named"),
    [("mobilenet_v2", {"alpha": 1.4}, "alpha: 1.4"), ("resnet50", {}, "mobilenet_v2")],
)
def test_other_networks_are_refused_by_what_differs(
    tmp_path: Path, architecture: str, options: dict[str, object], named: str
) -> None:
    path = tmp_path / "a.safetensors"
    write_drawn(path, variables(), card())
    problem = problem_with_drawn(path, architecture, settings(**options))
    assert problem is not None
    assert named in problem


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff" * 64, (2).to_bytes(8, "little") + b"{}", (9).to_bytes(8, "little") + b'{"a": 1 }'],
    ids=["empty", "noise", "no metadata", "no card"],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.safetensors"):
        read_card(path)
    assert problem_with_drawn(path, "mobilenet_v2", settings()) is not None


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_drawn(path, variables(), card())
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="not an intact safetensors file"):
        read_drawn(path)


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.safetensors")), ids=lambda path: path.stem)
def test_every_file_that_comes_with_the_project_names_its_network(path: Path) -> None:
    found = read_card(path)
    assert found.architecture == path.stem
    assert json.dumps(found.figures)
    assert found.pictures >= 20_000
