"""Pretrained weights land where Keras and Hugging Face put them: the same numbers come out."""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from pipelines.architectures import load_architecture
from pipelines.core.errors import WeightsUnavailable
from pipelines.core.io import write_json
from pipelines.core.params import ModelParams, known_architectures
from pipelines.model.keras_classifier import Classifier, build_classifier
from pipelines.weights.pretrained import completed, load_pretrained, published_url
from tests.support import vit_checkpoint
from tests.support.networks import HEAD, OPTIONS, SIDE, pictures, small_classifier

APPLICATIONS = [
    name
    for name in known_architectures()
    if (found := load_architecture(name).pretrained_weights(OPTIONS.get(name, {}))) and found.keras_module
]
CHECKPOINT = "hf://google/vit-base-patch16-224-in21k"


def application(name: str, weights: str | None) -> Any:
    """The network as keras.applications builds it, without top."""
    build = {
        "mobilenet_v2": keras.applications.MobileNetV2,
        "resnet50": keras.applications.ResNet50,
        "efficientnet_b4": keras.applications.EfficientNetB4,
    }[name]
    return build(include_top=False, weights=weights, input_shape=(SIDE, SIDE, 3), **OPTIONS.get(name, {}))


def pretrained_like(name: str) -> Any:
    """A keras.applications network whose weights could be published ones: nothing at its initial value."""
    keras.utils.set_random_seed(3)
    network = application(name, None)
    rng = np.random.default_rng(3)
    for weight in network.weights:
        if weight.name == "variance" or "variance" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.dtype == "float32":
            weight.assign_add(rng.normal(0, 0.02, weight.shape))
    return network


def write_folder(folder: Path, file: str | None, *, origin: str = "imagenet") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "origin.json", {"origin": origin, "reason": "test", "file": file})
    return folder


# Keras says so when it takes the 224 px file for another size, which is what this package does too.
@pytest.mark.filterwarnings("ignore:`input_shape` is undefined or non-square:UserWarning")
@pytest.mark.parametrize("name", APPLICATIONS)
def test_published_file_gives_what_keras_gives_with_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras reads a file of the published layout from its cache; only the hash it expects is ours."""
    found = load_architecture(name).pretrained_weights(OPTIONS.get(name, {}))
    assert found is not None
    assert found.file is not None
    path = tmp_path / "models" / found.file
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, pretrained_like(name))
    monkeypatch.setattr(keras.src.backend.config, "_KERAS_DIR", str(tmp_path))
    module = importlib.import_module(f"keras.src.applications.{found.keras_module}")
    if found.md5:
        digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        (key,) = [key for key, hashes in module.WEIGHTS_HASHES.items() if found.md5 in hashes]
        monkeypatch.setitem(module.WEIGHTS_HASHES, key, (digest, digest))
    classifier = small_classifier(name)
    assert load_pretrained(classifier, write_folder(path.parent, found.file)) == "imagenet"
    image = pictures(2).astype(np.float32)
    prepared = getattr(keras.applications, str(found.keras_module)).preprocess_input(image.copy())
    expected = application(name, "imagenet")(prepared, training=False)
    assert np.std(expected) > 0
    np.testing.assert_allclose(
        classifier.backbone(image, training=False), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
    )


@pytest.mark.parametrize("name", APPLICATIONS)
def test_file_saved_by_todays_keras_fits_too(name: str, tmp_path: Path) -> None:
    network = pretrained_like(name)
    network.save_weights(tmp_path / "mine.weights.h5")
    classifier = small_classifier(name)
    load_pretrained(classifier, write_folder(tmp_path, "mine.weights.h5"))
    assert len(classifier.backbone.weights) == len(network.weights)
    for ours, theirs in zip(classifier.backbone.weights, network.weights, strict=True):
        # This one is put right: see the file of EfficientNet-B4.
        if not ours.path.startswith("normalization") or ours.name != "variance":
            np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_address_comes_from_the_installed_keras(name: str) -> None:
    found = load_architecture(name).pretrained_weights(OPTIONS.get(name, {}))
    assert found is not None
    assert published_url(found).startswith("https://")
    assert published_url(found).endswith(f"/{found.file}")


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
@pytest.mark.parametrize("damage", ["truncated", "foreign"])
def test_a_file_that_does_not_fit_is_named_in_one_line(tmp_path: Path, suffix: str, damage: str) -> None:
    path = tmp_path / f"weights{suffix}"
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    network.save_weights(path) if suffix == ".weights.h5" else _save_legacy(path, network)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(WeightsUnavailable, match="does not fit the network") as caught:
        load_pretrained(small_classifier("mobilenet_v2"), write_folder(tmp_path, path.name))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def _save_legacy(path: Path, network: Any) -> None:
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)


def test_scratch_loads_nothing(tmp_path: Path) -> None:
    classifier = small_classifier("lenet")
    before = [weight.numpy() for weight in classifier.model.weights]
    assert load_pretrained(classifier, write_folder(tmp_path, None, origin="scratch")) == "scratch"
    for weight, value in zip(classifier.model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize("text", [None, "", "{}", '{"origin": "imagenet", "file": "gone.h5"}'])
def test_a_damaged_origin_is_named_in_one_line(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "origin.json").write_text(text)
    with pytest.raises(WeightsUnavailable) as caught:
        load_pretrained(small_classifier("lenet"), tmp_path)
    assert "\n" not in str(caught.value)


def vit_with(folder: Path, *, side: int = vit_checkpoint.SIDE) -> Classifier:
    """`vit_pretrained` built for the checkpoint in `folder` and loaded from it."""
    params = ModelParams(epochs=1, learning_rate=1e-3, options={"checkpoint": CHECKPOINT})
    params = completed("vit_pretrained", params, folder)
    classifier = build_classifier("vit_pretrained", params, head=HEAD, height=side, width=side, classes=3)
    assert load_pretrained(classifier, folder) == "hf:google/vit-base-patch16-224-in21k"
    return classifier


def checkpoint(folder: Path, tensors: dict[str, Any] | None = None, **options: Any) -> Path:
    tensors = vit_checkpoint.random_tensors() if tensors is None else tensors
    vit_checkpoint.write_checkpoint(folder / "checkpoint", tensors, **options)
    return write_folder(folder, "checkpoint", origin="hf:google/vit-base-patch16-224-in21k")


@pytest.mark.parametrize("prefix", ["vit.", ""])
def test_hugging_face_checkpoint_computes_what_it_did_there(tmp_path: Path, prefix: str) -> None:
    """Names as `ViTForImageClassification` saves them (`vit.`), and as `ViTModel` does (none)."""
    tensors = vit_checkpoint.random_tensors()
    classifier = vit_with(checkpoint(tmp_path, prefix=prefix))
    images = pictures(2, side=vit_checkpoint.SIDE)
    expected = vit_checkpoint.patch_tokens(tensors, images).reshape(2, 4, 4, vit_checkpoint.WIDTH)
    assert expected.std() > 0.1
    np.testing.assert_allclose(
        classifier.backbone(images.astype(np.float32), training=False), expected, atol=2e-5
    )


def test_every_tensor_of_the_checkpoint_is_in_the_network_and_nothing_else(tmp_path: Path) -> None:
    tensors = vit_checkpoint.random_tensors()
    extra = {"pooler.dense.weight": np.ones((2, 2), np.float32), "classifier.bias": np.ones(2, np.float32)}
    classifier = vit_with(checkpoint(tmp_path, tensors | extra))
    ours = sorted(tuple(np.sort(weight.numpy().ravel())) for weight in classifier.backbone.trainable_weights)
    theirs = sorted(tuple(np.sort(value.ravel())) for value in tensors.values())
    assert ours == theirs


def test_picture_of_another_size_is_resized_inside_the_graph(tmp_path: Path) -> None:
    classifier = vit_with(checkpoint(tmp_path), side=48)
    assert classifier.model.input_shape == (None, 48, 48, 3)
    assert classifier.grid == (4, 4)


def test_a_checkpoint_settles_the_options_that_training_records(tmp_path: Path) -> None:
    params = ModelParams(epochs=1, learning_rate=1e-3, options={"checkpoint": CHECKPOINT, "depth": 9})
    options = completed("vit_pretrained", params, checkpoint(tmp_path)).options
    assert options["depth"] == vit_checkpoint.DEPTH
    assert options["image_size_px"] == vit_checkpoint.SIDE
    assert options["layer_norm_eps"] == 1e-12
    assert tuple(options["std"]) == vit_checkpoint.STD
    assert json.loads(json.dumps(options)) == options


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qkv_bias": False}, "qkv_bias is False, expected True"),
        ({"layer_norm_eps": 0.5}, "layer_norm_eps is 0.5, expected a number in"),
        ({"layer_norm_eps": "1e-6"}, "layer_norm_eps is '1e-6', expected a number in"),
        ({"model_type": "deit"}, "model_type is 'deit', expected 'vit'"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu', expected 'gelu'"),
        ({"patch_size": 7}, "must be a multiple of patch_px"),
    ],
)
def test_a_configuration_the_backbone_cannot_take_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(WeightsUnavailable, match=message) as caught:
        vit_with(checkpoint(tmp_path, **change))
    assert "\n" not in str(caught.value)


def test_a_checkpoint_with_a_tensor_too_few_many_or_wrong_is_refused(tmp_path: Path) -> None:
    tensors = vit_checkpoint.random_tensors()
    name = "encoder.layer.1.output.dense.bias"
    few = {key: value for key, value in tensors.items() if key != name}
    wrong = tensors | {name: np.zeros(5, np.float32)}
    for index, (changed, message) in enumerate(
        (
            (few, "lacks encoder.layer.1.output.dense.bias"),
            (tensors | {"lora.a": wrong[name]}, "holds lora.a"),
        )
    ):
        with pytest.raises(WeightsUnavailable, match=message):
            vit_with(checkpoint(tmp_path / str(index), changed))
    with pytest.raises(WeightsUnavailable, match="shape"):
        vit_with(checkpoint(tmp_path / "wrong", wrong))


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    path = folder / "checkpoint" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsUnavailable, match="not an intact safetensors file"):
        vit_with(folder)
