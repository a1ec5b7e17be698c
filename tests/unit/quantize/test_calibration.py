"""What activations are seen to be, on pictures whose activations are known."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from pipelines.quantize.calibration import Method, Observed
from tests.support.graphs import build

LEVELS = (0, 51, 102, 255)


@pytest.fixture
def pictures() -> np.ndarray:
    """One flat picture for each level."""
    return np.stack([np.full((4, 4, 3), level, np.uint8) for level in LEVELS])


def _model(divisor: float) -> bytes:
    model: onnx.ModelProto = build(
        [
            ("Cast", ["image"], "x", {"to": 1}),
            ("Div", ["x", "divisor"], "unit", {}),
            ("Sub", ["unit", "offset"], "centred", {}),
            ("Relu", ["centred"], "out", {}),
        ],
        inputs={"image": ["batch", 4, 4, 3]},
        outputs={"out": ["batch", 4, 4, 3]},
        weights={"divisor": np.float32(divisor), "offset": np.float32(0.5)},
    )
    return bytes(model.SerializeToString())


def test_minmax_is_the_extreme_of_all_pictures(pictures: np.ndarray) -> None:
    found = Observed(_model(255), ["unit", "centred", "out"], pictures).ranges("minmax")
    assert found["unit"] == pytest.approx((0, 1))
    assert found["centred"] == pytest.approx((-0.5, 0.5))
    assert found["out"] == pytest.approx((0, 0.5))


def test_only_what_was_seen_counts(pictures: np.ndarray) -> None:
    found = Observed(_model(255), ["unit"], pictures[:3]).ranges("minmax")
    assert found["unit"] == pytest.approx((0, 0.4))


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_the_other_methods_stay_within_what_was_seen(method: Method, pictures: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    noisy = rng.integers(0, 256, (6, 4, 4, 3)).astype(np.uint8)
    found = Observed(_model(255), ["centred", "out"], noisy).ranges(method)
    low, high = found["centred"]
    assert -0.5 <= low < -0.3
    assert 0.3 < high <= 0.51
    assert found["out"][0] == 0


def test_a_tensor_that_is_not_finite_is_named(pictures: np.ndarray) -> None:
    with pytest.raises(FloatingPointError, match="`unit` holds values that are not finite"):
        Observed(_model(0), ["unit"], pictures).ranges("minmax")
