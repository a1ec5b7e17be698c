"""Options of architectures, and where its pretrained weights are: without importing Keras."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.architectures import Architecture, load_architecture
from pipelines.core.errors import ParamsError, UnknownArchitecture
from pipelines.core.params import known_architectures, load_params


@pytest.fixture(params=known_architectures())
def entry(request: pytest.FixtureRequest) -> Architecture:
    return load_architecture(request.param)


def test_every_file_registers_itself_under_its_own_name(entry: Architecture) -> None:
    assert entry.name in known_architectures()
    assert entry.title
    assert entry.reference


def test_an_unknown_option_is_refused_with_its_key(entry: Architecture) -> None:
    with pytest.raises(ParamsError, match=rf"models\.{entry.name}\.options\.wings"):
        entry.parse_options({"wings": 2})


def test_committed_parameters_fit_every_architecture(
    entry: Architecture, monkeypatch: pytest.MonkeyPatch, repository: Any
) -> None:
    monkeypatch.chdir(repository)
    entry.parse_options(load_params().models[entry.name].options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mobilenet_v2", {"alpha": 0.9}, "one of 0.35, 0.5"),
        ("vgg", {"filters": [8, 16], "convolutions": [1]}, "same number of blocks"),
        ("vgg", {"filters": [8, 0], "convolutions": [1, 1]}, "at least 1"),
        ("vit", {"width": 10, "heads": 4}, "multiple of heads"),
        ("vit_pretrained", {"width": 10, "heads": 4}, "multiple of heads"),
        ("vit_pretrained", {"image_size_px": 50, "patch_px": 16}, "multiple of patch_px"),
        ("vit_pretrained", {"checkpoint": "google/vit"}, "pattern"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParamsError, match=message):
        load_architecture(name).parse_options(options)


def test_an_unknown_architecture_names_the_known_ones() -> None:
    with pytest.raises(UnknownArchitecture, match="efficientnet_b4, lenet"):
        load_architecture("alexnet")


@pytest.mark.parametrize(
    ("name", "options", "file"),
    [
        ("mobilenet_v2", {}, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"),
        (
            "mobilenet_v2",
            {"alpha": 0.35},
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5",
        ),
        ("resnet50", {}, "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        ("efficientnet_b4", {}, "efficientnetb4_notop.h5"),
    ],
)
def test_imagenet_weights_are_keras_own_files(name: str, options: dict[str, Any], file: str) -> None:
    found = load_architecture(name).pretrained_weights(options)
    assert found is not None
    assert (found.origin, found.file) == ("imagenet", file)


@pytest.mark.parametrize("name", ["lenet", "vgg", "vit", "vit_pretrained"])
def test_without_a_checkpoint_there_is_nothing_to_fetch(name: str) -> None:
    assert load_architecture(name).pretrained_weights({}) is None


def test_a_checkpoint_is_named_as_the_contract_names_it() -> None:
    name = "hf://google/vit-base-patch16-224-in21k"
    found = load_architecture("vit_pretrained").pretrained_weights({"checkpoint": name})
    assert found is not None
    assert (found.origin, found.checkpoint) == ("hf:google/vit-base-patch16-224-in21k", name)
