"""The stage on a small network: what it writes, twice the same, and what it refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from PIL import Image

from pipelines.core import paths
from pipelines.core.dataset import Dataset, write_dataset
from pipelines.core.errors import ClassMissing, DataError, ModelFileError, PipelineError, QuantizationFailed
from pipelines.core.io import sha256_of
from pipelines.core.model_results import Export
from pipelines.core.params import QuantizationParams
from pipelines.model.predict import open_model
from pipelines.quantize.stage import quantize_model, validation_pictures
from serving.contract import InputSpec
from tests.support.files import read_json
from tests.support.networks import CLASSES, pictures, write_prepared
from tests.support.onnx_models import CHANNELS, make_contract, write_model

CHECKOUT = Path(__file__).parents[3]
SIDE = 32
DATASET = "ab" * 32


def settings(**changes: Any) -> QuantizationParams:
    values: dict[str, Any] = {
        "scope": "graph", "keep_float": ["last"], "per_channel": True, "ranges": "minmax", "pictures": 12,
    }  # fmt: skip
    return QuantizationParams.model_validate(values | changes)


def quantize(root: Path, *, out: str = "onnx/lenet-int8", **changes: Any) -> Export:
    return quantize_model(
        source=root / paths.onnx_model("lenet"),
        manifest=root / paths.MANIFEST,
        dataset=root / paths.DATASET,
        folder=root / out,
        settings=settings(**changes),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root as `export` leaves it, quantised once."""
    root = tmp_path_factory.mktemp("root")
    write_prepared(root / "prepared", per_class=6, side=SIDE)
    spec = InputSpec(height=SIDE, width=SIDE)
    write_dataset(root / paths.DATASET, Dataset(classes=CLASSES, input=spec, dataset=DATASET))
    contract = make_contract(classes=CLASSES, spec=spec, dataset=DATASET, weights="imagenet", temperature=1.3)
    write_model(root / paths.onnx_model("lenet"), contract=contract)
    params = yaml.safe_load((CHECKOUT / "params.yaml").read_text())
    params["quantization"]["lenet"] = settings().model_dump()
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    quantize(root)
    return root


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    """A copy without the result."""
    copy = Path(shutil.copytree(finished, tmp_path / "root"))
    shutil.rmtree(copy / "onnx/lenet-int8")
    return copy


def _operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_the_contract_is_the_twins_under_the_variants_name(finished: Path) -> None:
    twin = open_model(finished / paths.onnx_model("lenet")).contract
    found = open_model(finished / paths.onnx_model("lenet-int8")).contract
    assert found.architecture == "lenet-int8"
    assert twin.architecture == "lenet"
    assert found.to_json() == twin.to_json().replace('"lenet"', '"lenet-int8"')


def test_outputs_are_float_and_close_to_the_twins(finished: Path) -> None:
    images = pictures(20, side=SIDE)
    twin = open_model(finished / paths.onnx_model("lenet")).predict(images)
    found = open_model(finished / paths.onnx_model("lenet-int8")).predict(images)
    assert found.heatmap.dtype == found.embedding.dtype == found.probabilities.dtype == np.float32
    assert found.embedding.shape == (20, CHANNELS)
    np.testing.assert_allclose(found.probabilities, twin.probabilities, atol=0.05)
    np.testing.assert_allclose(found.embedding, twin.embedding, atol=0.03 * twin.embedding.max())
    np.testing.assert_allclose(found.heatmap, twin.heatmap, atol=0.1)
    # 0.004 to 0.006, by the processor's int8 kernels.
    assert np.abs(found.heatmap - twin.heatmap).mean() < 0.01


def test_the_convolution_is_in_eight_bits_and_the_last_layer_is_not(finished: Path) -> None:
    operators = _operators(finished / paths.onnx_model("lenet-int8"))
    # The picture's planes, what the convolution makes of them, and their means.
    assert operators["QuantizeLinear"] == 3
    model = onnx.load(finished / paths.onnx_model("lenet-int8"))
    types = {weight.name: weight.data_type for weight in model.graph.initializer}
    [dense] = [node for node in model.graph.node if node.op_type == "Gemm"]
    assert types[dense.input[1]] == onnx.TensorProto.FLOAT
    assert onnx.TensorProto.INT8 in types.values()


def test_the_record_describes_the_file_and_its_twin(finished: Path) -> None:
    path = finished / paths.onnx_model("lenet-int8")
    found = read_json(finished / paths.export_record("lenet-int8"))
    assert found["architecture"] == "lenet-int8"
    assert found["sha256"] == sha256_of(path)
    assert found["size_bytes"] == path.stat().st_size
    assert (found["temperature"], found["opset"], found["embedding"]) == (1.3, 18, CHANNELS)
    assert found["heatmap"] == [SIDE // 4, SIDE // 4]
    assert found["twin"]["sha256"] == sha256_of(finished / paths.onnx_model("lenet"))
    assert found["twin"]["pictures"] == 18
    assert found["twin"]["same_answer"] >= 0.9
    assert found["settings"]["keep_float"] == ["last"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="recorded"),
        pytest.param({"per_channel": False, "ranges": "percentile"}, id="percentile"),
        pytest.param({"scope": "products", "ranges": "entropy"}, id="entropy"),
    ],
)
def test_twice_gives_the_same_bytes(root: Path, changes: dict[str, Any]) -> None:
    records = [quantize(root, out=f"out/{number}", **changes) for number in range(2)]
    assert records[0] == records[1]
    for name in ("model.onnx", "export.json"):
        assert (root / "out/0" / name).read_bytes() == (root / "out/1" / name).read_bytes()


def test_another_process_writes_the_same_bytes_and_loads_no_tensorflow(
    finished: Path, tmp_path: Path
) -> None:
    """Sets of strings are walked over in another order in each process; nothing of it may stay."""
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    first: bytes | None = None
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "pipelines.quantize", "lenet"],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(CHECKOUT), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "tensorflow" not in done.stderr
        assert done.stdout.startswith("lenet-int8: 0.0 MB, ")
        content = (copy / paths.onnx_model("lenet-int8")).read_bytes()
        assert first in (None, content)
        first = content


def test_the_settings_decide_what_is_quantised(root: Path) -> None:
    counts = {}
    variants: dict[str, dict[str, Any]] = {
        "all": {"keep_float": []},
        "last": {},
        "head": {"keep_float": ["head"]},
        "tensor": {"per_channel": False},
    }
    for name, changes in variants.items():
        quantize(root, out=f"out/{name}", **changes)
        counts[name] = _operators(root / "out" / name / "model.onnx")["QuantizeLinear"]
    assert counts["all"] > counts["last"] == counts["head"] == counts["tensor"]
    sizes = [(root / "out" / name / "model.onnx").stat().st_size for name in ("last", "tensor")]
    assert sizes[0] > sizes[1]  # a scale for each channel


def test_calibration_pictures_come_from_all_of_the_split(finished: Path) -> None:
    contract = open_model(finished / paths.onnx_model("lenet")).contract
    few = validation_pictures(finished / paths.MANIFEST, contract, count=3)
    everything = validation_pictures(finished / paths.MANIFEST, contract, count=1000)
    assert (len(few), len(everything)) == (3, 18)
    # The first, the middle and the last of a table sorted by class.
    for picture, index in zip(few, (0, 8, 17), strict=True):
        np.testing.assert_array_equal(picture, everything[index])


def _refused(root: Path, error: type[PipelineError], match: str, **changes: Any) -> None:
    with pytest.raises(error, match=match) as caught:
        quantize(root, **changes)
    assert "\n" not in str(caught.value)
    assert not (root / "onnx/lenet-int8").exists()
    assert not list((root / "onnx").glob(".*"))


def test_a_damaged_picture_is_named(root: Path) -> None:
    broken = sorted((root / "prepared/images/val/happy").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:40])
    _refused(root, DataError, f"{broken.name}: not readable, expected a picture made by `prepare`")


def test_a_picture_that_is_gone_is_named(root: Path) -> None:
    gone = sorted((root / "prepared/images/val/happy").iterdir())[0]
    gone.unlink()
    _refused(root, DataError, f"{gone.name}: not readable")


def test_a_picture_of_another_size_is_named(root: Path) -> None:
    other = sorted((root / "prepared/images/val/sad").iterdir())[0]
    Image.new("RGB", (SIDE, 40)).save(other)
    _refused(root, DataError, rf"{other.name}: got 40×32 px, expected 32×32 px")


def test_a_model_of_other_data_is_refused(root: Path) -> None:
    spec = InputSpec(height=SIDE, width=SIDE)
    write_dataset(root / paths.DATASET, Dataset(classes=CLASSES, input=spec, dataset="cd" * 32))
    _refused(root, ModelFileError, "trained on dataset abababababab, the prepared one is cdcdcdcdcdcd")


def test_a_model_of_other_classes_is_refused(root: Path) -> None:
    contract = make_contract(classes=("happy", "sad"), side=SIDE, dataset=DATASET)
    write_model(root / paths.onnx_model("lenet"), contract=contract)
    _refused(root, ClassMissing, "unknown class 'neutral'")


def test_a_truncated_model_is_refused(root: Path) -> None:
    path = root / paths.onnx_model("lenet")
    path.write_bytes(path.read_bytes()[:500])
    _refused(root, ModelFileError, "not a readable ONNX file")


def test_rules_that_leave_nothing_to_quantise_are_refused(root: Path) -> None:
    # The graph has one convolution, which is the first, and one dense layer, which is the last.
    _refused(root, QuantizationFailed, r"no layer is left in eight bits.*quantization\.lenet",
             keep_float=["first", "last"], scope="products")  # fmt: skip


def test_a_network_that_answers_everything_alike_is_refused(root: Path) -> None:
    path = root / paths.onnx_model("lenet")
    model = onnx.load(path)
    for weight in model.graph.initializer:
        if weight.name == "kernel":
            weight.raw_data = bytes(len(weight.raw_data))
    onnx.save(model, path)
    _refused(
        root,
        QuantizationFailed,
        "two pictures with different float32 predictions get the same int8 prediction",
    )


def test_activations_that_are_not_finite_are_refused(root: Path) -> None:
    path = root / paths.onnx_model("lenet")
    model = onnx.load(path)
    for weight in model.graph.initializer:
        if weight.name == "kernel":
            weight.raw_data = np.full(len(weight.raw_data) // 4, np.nan, np.float32).tobytes()
    onnx.save(model, path)
    _refused(root, QuantizationFailed, "holds values that are not finite")
