from __future__ import annotations

import numpy as np
import pytest

from pipelines.core.errors import ExplanationFailed
from pipelines.explain.answers import check_agreement

PATHS = ("a.png", "b.png")


def maps() -> np.ndarray:
    return np.linspace(0, 1, 2 * 3 * 3, dtype=np.float32).reshape(2, 3, 3)


def test_each_picture_gets_its_largest_difference() -> None:
    keras = maps()
    onnx = keras.copy()
    onnx[1, 2, 0] -= 5e-4

    differences = check_agreement(onnx, keras, architecture="lenet", paths=PATHS)

    assert differences == pytest.approx([0, 5e-4], abs=1e-6)


def test_a_larger_difference_is_an_error_that_names_the_picture_and_the_remedy() -> None:
    keras = maps()
    onnx = keras.copy()
    onnx[1, 2, 0] += 2e-3

    with pytest.raises(
        ExplanationFailed, match=r"1 of 2 heatmaps differ by up to 0\.002 \(b\.png\)"
    ) as caught:
        check_agreement(onnx, keras, architecture="lenet", paths=PATHS)

    assert "dvc repro --force --single-item export@lenet" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_not_a_number_never_agrees() -> None:
    onnx = maps()
    onnx[0, 0, 0] = np.nan

    with pytest.raises(ExplanationFailed, match=r"a\.png"):
        check_agreement(onnx, maps(), architecture="lenet", paths=PATHS)


def test_maps_of_another_size_never_agree() -> None:
    with pytest.raises(ExplanationFailed, match="shape"):
        check_agreement(maps()[:, :2], maps(), architecture="lenet", paths=PATHS)
