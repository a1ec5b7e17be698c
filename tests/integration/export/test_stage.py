"""Every architecture from trained weights to an ONNX file that answers as Keras does, byte for byte again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

from pipelines.core.errors import ExportFailed, OutputError, PipelineError, ResultCorrupt
from pipelines.core.io import sha256_of, write_json
from pipelines.core.model_results import Export
from pipelines.core.params import ExportParams, known_architectures
from pipelines.export.pictures import read_pictures, read_split
from pipelines.export.stage import converted, export_model
from serving.contract import METADATA_KEY, NOVELTY, OUTPUTS, InputSpec, ModelContract, NoveltyOutput
from tests.support.files import files_of_at_most, read_json
from tests.support.networks import CLASSES, HEAD, SIDE, lively, pictures, small_classifier, write_trained

NAMES = known_architectures()
PARAMS = ExportParams(opset=18, tolerance=1e-4)


def export(root: Path, name: str, *, params: ExportParams = PARAMS, out: str = "onnx") -> Export:
    return export_model(
        record=root / "models" / name / "training.json",
        weights=root / "models" / name / "model.weights.h5",
        manifest=root / "prepared" / "manifest.parquet",
        folder=root / out / name,
        params=params,
    )


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", NAMES)
def test_file_has_the_signature_of_the_contract(exported: Path, name: str) -> None:
    model = onnx.load(exported / "onnx" / name / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    facts = read_json(exported / "onnx" / name / "export.json")

    def described(values: Any) -> dict[str, Any]:
        return {
            value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
            for value in values
        }

    assert described(model.graph.input) == {"image": ["batch", SIDE, SIDE, 3]}
    assert described(model.graph.output) == {
        "probabilities": ["batch", len(CLASSES)],
        "heatmap": ["batch", *facts["heatmap"]],
        "embedding": ["batch", HEAD.hidden[-1]],
        "novelty": ["batch"],
    }
    assert [(item.domain, item.version) for item in model.opset_import if item.domain == ""] == [("", 18)]


@pytest.mark.parametrize("name", NAMES)
def test_contract_in_the_file_says_what_was_trained(exported: Path, name: str) -> None:
    model = onnx.load(exported / "onnx" / name / "model.onnx")
    (entry,) = model.metadata_props
    assert entry.key == METADATA_KEY
    contract = ModelContract.from_json(entry.value)
    assert contract.architecture == name
    assert contract.classes == CLASSES
    assert (contract.input.height, contract.input.width) == (SIDE, SIDE)
    assert contract.dataset == "ab" * 32
    assert contract.novelty == NoveltyOutput(threshold=0.99)
    assert contract.temperature == read_json(exported / "onnx" / name / "export.json")["temperature"]


@pytest.mark.parametrize("name", NAMES)
def test_one_picture_is_answered_alone_as_among_others(exported: Path, name: str) -> None:
    run = session(exported / "onnx" / name / "model.onnx").run
    images = pictures(5)
    outputs = (*OUTPUTS, NOVELTY)
    together = run(list(outputs), {"image": images})
    # The temperature was fitted to labels that mean nothing: it may make any two answers look alike.
    temperature = read_json(exported / "onnx" / name / "export.json")["temperature"]
    assert temperature * np.ptp(np.log(together[0]), axis=0).max() > 1e-3
    for index in range(5):
        alone = run(list(outputs), {"image": images[index : index + 1]})
        for name_, one, all_ in zip(outputs, alone, together, strict=True):
            np.testing.assert_allclose(one[0], all_[index], atol=1e-4, err_msg=name_)


@pytest.mark.parametrize("name", NAMES)
def test_record_describes_the_file(exported: Path, name: str) -> None:
    path = exported / "onnx" / name / "model.onnx"
    facts = read_json(path.with_name("export.json"))
    assert facts["sha256"] == sha256_of(path)
    assert facts["size_bytes"] == path.stat().st_size
    assert facts["architecture"] == name
    assert facts["opset"] == 18
    assert facts["val_nll_after"] <= facts["val_nll_before"]
    assert set(facts["parity"]) == {*OUTPUTS, NOVELTY}
    assert max(facts["parity"].values()) <= 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_validation_pictures_are_spread_over_the_scale_of_novelty(exported: Path, name: str) -> None:
    """Of n pictures, the i-th least novel one has about i / (n + 1); none lies beyond the most novel one."""
    split = read_split(exported / "prepared/manifest.parquet", "val", classes=CLASSES)
    run = session(exported / "onnx" / name / "model.onnx").run
    (found,) = run([NOVELTY], {"image": read_pictures(split.paths)})
    count = len(split.paths)
    expected = np.arange(count) / (count - 1) * count / (count + 1)
    # Distances that are almost equal share a step of the table.
    np.testing.assert_allclose(np.sort(found), expected, atol=0.07)


@pytest.mark.parametrize("name", ["lenet", "vit"])
def test_sets_of_the_file_have_the_coverage_that_the_contract_says(exported: Path, name: str) -> None:
    path = exported / "onnx" / name / "model.onnx"
    (entry,) = onnx.load(path).metadata_props
    sets = ModelContract.from_json(entry.value).conformal
    assert sets is not None
    assert sets.coverage == 0.9
    assert read_json(path.with_name("export.json"))["sets"] == vars(sets)
    own = {}
    for split in ("val", "test"):
        found = read_split(exported / "prepared/manifest.parquet", split, classes=CLASSES)
        (rows,) = session(path).run(["probabilities"], {"image": read_pictures(found.paths)})
        own[split] = rows[np.arange(len(rows)), found.labels], rows.argmax(1) == found.labels
    # 18 pictures: the ⌈19 · 0.9⌉ = 18th largest probability, the smallest one.
    assert sets.threshold == pytest.approx(own["val"][0].min(), abs=2e-6)
    within = (own["test"][0] >= sets.threshold) | own["test"][1]
    assert sets.measured_coverage == pytest.approx(within.mean(), abs=1e-6)


def test_without_novelty_the_file_is_of_version_1_and_needs_no_training_pictures(lenet: Path) -> None:
    for path in (lenet / "prepared/images/train").rglob("*.png"):
        path.unlink()
    params = ExportParams(opset=18, tolerance=1e-4, novelty=False, coverage=None)
    assert set(export(lenet, "lenet", params=params).parity) == set(OUTPUTS)
    (entry,) = onnx.load(lenet / "onnx/lenet/model.onnx").metadata_props
    contract = ModelContract.from_json(entry.value)
    assert (contract.version, contract.novelty) == (1, None)


def test_another_process_in_another_order_writes_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    """Names that Keras and tf2onnx number, and sets of strings they walk over, leave no trace."""
    code = (
        "from pathlib import Path\n"
        "from tests.integration.export.test_stage import export\n"
        f"for name in {NAMES[::-1]!r}: export(Path({str(exported)!r}), name, out={str(tmp_path)!r})\n"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": "."},
    )
    for name in NAMES:
        for file in ("model.onnx", "export.json"):
            first, second = exported / "onnx" / name / file, tmp_path / name / file
            assert first.read_bytes() == second.read_bytes(), f"{name}/{file}"


@pytest.fixture
def lenet(tmp_path: Path) -> Path:
    """A root with a trained LeNet."""
    write_trained(tmp_path, lively(small_classifier("lenet")))
    return tmp_path


def test_a_difference_above_the_tolerance_fails_and_writes_nothing(lenet: Path) -> None:
    with pytest.raises(ExportFailed, match=r"differ by .* expected at most 1e-12") as caught:
        export(lenet, "lenet", params=ExportParams(opset=18, tolerance=1e-12))
    assert "\n" not in str(caught.value)
    assert not (lenet / "onnx").exists()


def test_a_network_that_answers_all_pictures_alike_proves_nothing(tmp_path: Path) -> None:
    classifier = small_classifier("lenet")
    for weight in classifier.model.trainable_weights:
        weight.assign(np.zeros(weight.shape, np.float32))
    write_trained(tmp_path, classifier)
    with pytest.raises(ExportFailed, match="alike"):
        export(tmp_path, "lenet")


def test_too_few_test_pictures_are_named(tmp_path: Path) -> None:
    write_trained(tmp_path, lively(small_classifier("lenet")), per_class=1)
    with pytest.raises(ExportFailed, match=r"got 3 test pictures .* expected at least 5"):
        export(tmp_path, "lenet")


@pytest.mark.parametrize("damage", ["truncated", "missing", "foreign"])
def test_damaged_weights_are_named_in_one_line(lenet: Path, damage: str) -> None:
    path = lenet / "models" / "lenet" / "model.weights.h5"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "missing":
        path.unlink()
    else:
        small_classifier("vit").model.save_weights(path)
    with pytest.raises(ResultCorrupt, match="train@lenet") as caught:
        export(lenet, "lenet")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{}", '{"architecture": "lenet"}'])
def test_a_damaged_record_is_named_in_one_line(lenet: Path, text: str) -> None:
    path = lenet / "models" / "lenet" / "training.json"
    path.write_text(text)
    with pytest.raises(ResultCorrupt, match="train@lenet"):
        export(lenet, "lenet")


def test_classes_of_other_data_are_refused(lenet: Path) -> None:
    path = lenet / "models" / "lenet" / "training.json"
    write_json(path, {**read_json(path), "classes": ["angry", "happy", "sad"]})
    with pytest.raises(PipelineError, match="unknown class 'neutral'"):
        export(lenet, "lenet")


@pytest.fixture
def full_disk() -> Iterator[None]:
    """A limit on the size of files, which a process may set and lift again without being an administrator."""
    with files_of_at_most(50_000):
        yield


def test_a_full_disk_keeps_the_file_that_was_there(lenet: Path, full_disk: None) -> None:
    (lenet / "onnx" / "lenet").mkdir(parents=True)
    (lenet / "onnx" / "lenet" / "model.onnx").write_text("the last one")
    with pytest.raises(OutputError, match=r"cannot be written \(File too large\), the old file was kept"):
        export(lenet, "lenet")
    assert [path.name for path in (lenet / "onnx").iterdir()] == ["lenet"]
    assert (lenet / "onnx" / "lenet" / "model.onnx").read_text() == "the last one"


def test_the_older_operator_set_works_too(lenet: Path) -> None:
    assert export(lenet, "lenet", params=ExportParams(opset=17, tolerance=1e-4)).opset == 17


def contract() -> ModelContract:
    return ModelContract(
        classes=CLASSES,
        input=InputSpec(height=8, width=8),
        architecture="lenet",
        weights="scratch",
        temperature=1.0,
        dataset="ab" * 32,
    )


def function(heatmap: Callable[[Any], Any]) -> Any:
    """A function with the contract's names whose heatmap is `heatmap(float32 [batch, 8, 8])`."""

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.uint8, name="image")], autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def infer(image: Any) -> dict[str, Any]:
        gray = tf.reduce_mean(tf.cast(image, tf.float32), axis=-1)
        return {
            "probabilities": tf.nn.softmax(gray[:, 0, :3]),
            "heatmap": heatmap(gray),
            "embedding": gray[:, 1, :],
        }

    return infer.get_concrete_function()


@pytest.mark.parametrize(
    ("heatmap", "message"),
    [
        (lambda gray: tf.linalg.inv(gray), "no valid graph"),
        (lambda gray: gray[:, 0, :], "breaks its contract: tensor 'heatmap'"),
    ],
    ids=["operation that ONNX lacks", "wrong shape"],
)
def test_a_graph_that_cannot_be_or_is_not_what_it_should_is_refused(
    heatmap: Callable[[Any], Any], message: str
) -> None:
    with pytest.raises(ExportFailed, match=message) as caught:
        converted(function(heatmap), contract(), opset=18)
    assert "\n" not in str(caught.value)
    assert "pipelines/architectures/lenet.py" in str(caught.value)


def test_the_command_prints_one_line(lenet: Path) -> None:
    repository = Path(__file__).resolve().parents[3]
    (lenet / "params.yaml").write_bytes((repository / "params.yaml").read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.export", "lenet"],
        cwd=lenet,
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(repository)},
    )
    assert done.stdout.startswith("lenet: ")
    assert len(done.stdout.splitlines()) == 1
    assert json.loads((lenet / "onnx" / "lenet" / "export.json").read_text())["architecture"] == "lenet"
