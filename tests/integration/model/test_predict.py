"""Opening exported models and predicting on originals, with ONNX Runtime and files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from pipelines.core.errors import DataError, ModelFileError
from pipelines.core.io import sha256_of
from pipelines.model.predict import open_model, predict_sources
from serving.inference.onnx_classifier import BATCH_SIZES, OnnxClassifier
from tests.support.onnx_models import CLASSES, brightness_levels, make_contract, write_model
from tests.support.originals import write_originals


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("onnx") / "model.onnx", levels=brightness_levels(len(CLASSES)))


@pytest.fixture(scope="module")
def classifier(model: Path) -> OnnxClassifier:
    return open_model(model)


def _pictures(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def test_an_open_model_tells_its_contract_and_its_file(model: Path, classifier: OnnxClassifier) -> None:
    assert classifier.contract == make_contract()
    assert classifier.sha256 == sha256_of(model)
    assert classifier.size_bytes == model.stat().st_size


@pytest.mark.parametrize("count", [1, 3, 64, 65, 150])
def test_any_number_of_pictures_gets_onnx_runtimes_own_answers(
    model: Path, classifier: OnnxClassifier, count: int
) -> None:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = ["probabilities", "heatmap", "embedding"]
    expected = [
        np.concatenate(parts)
        for parts in zip(*(session.run(names, {"image": one[None]}) for one in _pictures(count)), strict=True)
    ]
    found = classifier.predict(_pictures(count))
    for name, values in zip(names, expected, strict=True):
        assert getattr(found, name) == pytest.approx(values, abs=1e-6)


def test_no_pictures_get_no_answers(classifier: OnnxClassifier) -> None:
    found = classifier.predict(_pictures(0))
    assert [len(part) for part in (found.probabilities, found.heatmap, found.embedding)] == [0, 0, 0]
    assert found.probabilities.shape[1] == len(CLASSES)


def test_only_a_few_batch_sizes_ever_reach_the_runtime(model: Path) -> None:
    classifier = open_model(model)
    session: Any = classifier._session
    seen: list[int] = []

    class Watching:
        def run(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            seen.append(len(feeds["image"]))
            answers: list[np.ndarray] = session.run(names, feeds)
            return answers

    classifier._session = Watching()
    for count in range(1, 140):
        classifier.predict(_pictures(count))
    assert set(seen) == set(BATCH_SIZES)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param(lambda data: data[: len(data) // 2], "not a readable ONNX file", id="truncated"),
        pytest.param(lambda data: b"", "not a readable ONNX file", id="empty"),
        pytest.param(lambda data: b"\x89PNG\r\n\x1a\n" + data, "not a readable ONNX file", id="foreign"),
    ],
)
def test_a_spoilt_file_is_one_line(
    tmp_path: Path, model: Path, spoil: Callable[[bytes], bytes], reason: str
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(spoil(model.read_bytes()))
    with pytest.raises(ModelFileError, match=reason) as caught:
        open_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        pytest.param(None, "no contract in its metadata", id="missing"),
        pytest.param("{", "contract field '.all.'", id="not-json"),
        pytest.param('{"version": 1}', "a missing key", id="incomplete"),
        pytest.param(
            make_contract(classes=["a", "b"]).to_json(), "'probabilities': got float32", id="other-classes"
        ),
        pytest.param(make_contract(side=32).to_json(), "'image': got uint8", id="other-size"),
    ],
)
def test_a_model_without_a_fitting_contract_is_refused(
    tmp_path: Path, metadata: str | None, reason: str
) -> None:
    path = write_model(tmp_path / "model.onnx", metadata=metadata)
    with pytest.raises(ModelFileError, match=reason) as caught:
        open_model(path)
    assert "\n" not in str(caught.value)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="No such file"):
        open_model(tmp_path / "model.onnx")


def test_opening_is_silent(tmp_path: Path, model: Path) -> None:
    code = f"from pipelines.model.predict import *; open_model, open_model(Path({str(model)!r}), threads=2)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout + done.stderr == ""


def test_originals_are_answered_in_order(tmp_path: Path, classifier: OnnxClassifier) -> None:
    manifest = write_originals(tmp_path, misleading=0).sample(frac=1, random_state=0)
    found = predict_sources(classifier, list(manifest["source"]), tmp_path, workers=3)
    assert [CLASSES[index] for index in found.probabilities.argmax(1)] == list(manifest["label"])


def test_originals_pass_through_the_models_own_contract(tmp_path: Path, model: Path) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    Image.fromarray(random.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(tmp_path / "data/a.png")
    contract = make_contract(side=32, color="gray")
    gray = open_model(write_model(tmp_path / "gray.onnx", contract=contract))
    found = predict_sources(gray, ["data/a.png"], tmp_path)
    # Area averaging of 48×40 to 32×32 by hand: each target pixel covers 1.5 × 1.25 source pixels.
    pixels = np.asarray(Image.open(tmp_path / "data/a.png"), dtype=np.float64)
    rows, columns = _coverage(40, 32), _coverage(48, 32)
    small = np.einsum("ri,ijc,kj->rkc", rows, pixels, columns).round()
    luminance = (small @ [0.299, 0.587, 0.114]).round()
    expected = gray.predict(np.repeat(luminance[None, :, :, None], 3, axis=3).astype(np.uint8))
    assert found.probabilities == pytest.approx(expected.probabilities, abs=5e-3)
    assert found.embedding == pytest.approx(expected.embedding, abs=5e-3)


def test_an_original_that_is_gone_is_named(tmp_path: Path, classifier: OnnxClassifier) -> None:
    manifest = write_originals(tmp_path, per_class=1)
    (tmp_path / manifest["source"][3]).unlink()
    with pytest.raises(DataError, match=manifest["source"][3]) as caught:
        predict_sources(classifier, list(manifest["source"]), tmp_path)
    assert "\n" not in str(caught.value)


def test_an_original_that_became_unreadable_is_named(tmp_path: Path, classifier: OnnxClassifier) -> None:
    manifest = write_originals(tmp_path, per_class=1)
    (tmp_path / manifest["source"][3]).write_bytes(b"no picture")
    with pytest.raises(DataError, match=manifest["source"][3]):
        predict_sources(classifier, list(manifest["source"]), tmp_path)


def test_no_originals_get_no_answers(tmp_path: Path, classifier: OnnxClassifier) -> None:
    assert predict_sources(classifier, [], tmp_path).probabilities.shape == (0, len(CLASSES))


def _coverage(size: int, target: int) -> np.ndarray:
    """[target, size], which share of target pixel r comes from source pixel i."""
    edges = np.linspace(0, size, target + 1)
    index = np.arange(size)
    overlap = np.minimum(edges[1:, None], index + 1) - np.maximum(edges[:-1, None], index)
    return overlap.clip(0, None) / (size / target)
