"""`params.yaml` is what `conf/` says, and every wrong value is one clear line."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.core.errors import ParamsError, UnknownArchitecture, UnknownProfile
from pipelines.core.params import known_architectures, load_params, parse_params
from pipelines.profile import compose, profiles
from serving.settings import Settings


@pytest.fixture
def values(repository: Path) -> Any:
    return yaml.safe_load((repository / "params.yaml").read_text())


def test_committed_params_are_the_sample_profile(repository: Path) -> None:
    assert (repository / "params.yaml").read_text() == compose("sample", repository / "conf")


@pytest.mark.parametrize("name", ["sample", "fer2013", "full", "tiny"])
def test_every_profile_composes_to_valid_parameters(name: str, repository: Path) -> None:
    params = parse_params(yaml.safe_load(compose(name, repository / "conf")))
    assert set(params.architectures) <= set(known_architectures())
    assert set(params.architectures) <= set(params.models)


def test_profiles_are_the_files_in_conf(repository: Path) -> None:
    assert profiles(repository / "conf") == ("fer2013", "full", "sample", "tiny")


def test_sample_profile_trains_every_architecture_there_is(repository: Path) -> None:
    params = load_params(repository / "params.yaml")
    assert sorted(params.architectures) == sorted(known_architectures())


def test_options_of_a_model_are_replaced_whole(repository: Path) -> None:
    params = parse_params(yaml.safe_load(compose("full", repository / "conf")))
    assert params.models["vit_pretrained"].options == {"checkpoint": "hf://google/vit-base-patch16-224-in21k"}


def test_comments_of_the_base_survive(repository: Path) -> None:
    assert "# splits, initial weights" in compose("fer2013", repository / "conf")


def test_unknown_profile_names_the_known_ones(repository: Path) -> None:
    with pytest.raises(UnknownProfile, match="'huge' is unknown, expected one of fer2013, full"):
        compose("huge", repository / "conf")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        pytest.param(("training", "batchsize"), 32, "training.batchsize: got 32", id="unknown-key"),
        pytest.param(
            ("training", "batch_size"), 0, "got 0, expected greater than or equal to 1;", id="too-small"
        ),
        pytest.param(("prepare", "val_fraction"), 0.9, "prepare.val_fraction: got 0.9", id="too-large"),
        pytest.param(("prepare", "color"), "sepia", "prepare.color: got 'sepia'", id="no-such-choice"),
        pytest.param(("prepare", "group_pattern"), "(", "not a regular expression", id="bad-pattern"),
        pytest.param(("prepare", "group_pattern"), "id", "needs one \\(group\\)", id="no-group"),
        pytest.param(("seed",), "twenty", "seed: got 'twenty'", id="wrong-type"),
        pytest.param(("architectures",), [], "architectures: got \\[\\]", id="none"),
        pytest.param(("architectures",), ["lenet", "lenet"], "each name once", id="twice"),
        pytest.param(("models",), {}, r"models\.lenet: got None", id="no-settings"),
    ],
)
def test_wrong_value_is_named_with_what_was_expected(
    values: Any, path: tuple[str, ...], value: object, message: str
) -> None:
    changed = copy.deepcopy(values)
    block = changed
    for key in path[:-1]:
        block = block[key]
    block[path[-1]] = value
    with pytest.raises(ParamsError, match=message) as caught:
        parse_params(changed)
    assert "\n" not in str(caught.value)


def test_unknown_architecture_lists_the_known_ones(values: Any) -> None:
    values["architectures"].append("alexnet")
    with pytest.raises(UnknownArchitecture, match=r"'alexnet' is unknown, expected one of .*lenet"):
        parse_params(values)


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="No such file"):
        load_params(tmp_path / "params.yaml")


def test_broken_yaml_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("seed: [1\n")
    with pytest.raises(ParamsError, match="readable YAML") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


def test_pictures_are_measured_with_the_margin_that_the_service_uses(repository: Path) -> None:
    assert load_params(repository / "params.yaml").evaluate.face_margin == Settings().face_margin
