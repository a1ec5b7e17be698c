"""Which weights each architecture gets, and what the stage leaves untouched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipelines.core.errors import WeightsUnavailable
from pipelines.core.params import Params, parse_params
from pipelines.weights import stage
from pipelines.weights.drawn import DrawnCard, shape_options, write_drawn
from pipelines.weights.pretrained import read_origin
from pipelines.weights.stage import resolve_all
from tests.support.files import read_json
from tests.support.weight_files import serving, write_checkpoint, write_hdf5

KERAS_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
CHECKPOINT = "hf://some/vit"


@pytest.fixture(autouse=True)
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the drawn weights that come with the project."""
    folder = tmp_path / "drawn_faces"
    folder.mkdir()
    monkeypatch.setattr(stage, "SHIPPED", folder)
    return folder


def write_drawn_weights(folder: Path, params: Params, name: str) -> Path:
    """A file of drawn weights for an architecture with its options in `params`."""
    path = folder / f"{name}.safetensors"
    card = DrawnCard(
        architecture=name,
        options=shape_options(name, params.model(name)),
        pictures=1,
        steps=1,
        sizes_px=[64],
        processor_s=1,
        figures={},
    )
    write_drawn(path, {"kernel": np.ones((2, 3), np.float32)}, card)
    return path


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without caches, and a proxy that does not answer."""
    for name in ("KERAS_HOME", "HF_HOME", "HF_HUB_CACHE", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return tmp_path / "home"


def settings(repository: Path, *names: str, checkpoint: str | None = None, **weights: Any) -> Params:
    data: dict[str, Any] = yaml.safe_load((repository / "params.yaml").read_text())
    data["architectures"] = list(names)
    data["weights"] |= {"source": "auto", "offline": "scratch", "timeout_s": 1.0} | weights
    data["models"]["mobilenet_v2"]["options"] = {"alpha": 1.0}
    data["models"]["vit_pretrained"]["options"]["checkpoint"] = checkpoint
    return parse_params(data)


def origin(root: Path, name: str) -> Mapping[str, Any]:
    read: dict[str, Any] = read_json(root / name / "origin.json")
    return read


def test_a_network_without_pretrained_weights_starts_from_scratch(repository: Path, tmp_path: Path) -> None:
    resolve_all(settings(repository, "lenet", "vit_pretrained"), root=tmp_path / "w")
    assert origin(tmp_path / "w", "lenet") == {"origin": "scratch", "reason": "not pretrained", "file": None}
    assert origin(tmp_path / "w", "vit_pretrained")["reason"] == "no checkpoint configured"


def test_the_users_own_folder_comes_before_the_cache(
    repository: Path, tmp_path: Path, no_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = write_hdf5(tmp_path / "own" / "mobilenet_v2.weights.h5", value=2)
    write_hdf5(no_network / ".keras" / "models" / KERAS_FILE)
    monkeypatch.setenv("MIEN_WEIGHTS_DIR", str(tmp_path / "own"))
    resolve_all(settings(repository, "mobilenet_v2"), root=tmp_path / "w")
    record = read_origin("mobilenet_v2", tmp_path / "w" / "mobilenet_v2")
    assert record.origin == "imagenet"
    assert record.file is not None
    assert record.file.endswith("1.0_224_no_top.weights.h5")
    assert (tmp_path / "w" / "mobilenet_v2" / record.file).read_bytes() == own.read_bytes()


def test_keras_cache_is_found(repository: Path, tmp_path: Path, no_network: Path) -> None:
    cached = write_hdf5(no_network / ".keras" / "models" / KERAS_FILE)
    resolve_all(settings(repository, "mobilenet_v2"), root=tmp_path / "w")
    assert origin(tmp_path / "w", "mobilenet_v2")["file"] == KERAS_FILE
    assert (tmp_path / "w" / "mobilenet_v2" / KERAS_FILE).read_bytes() == cached.read_bytes()


def test_the_hubs_cache_is_found(repository: Path, tmp_path: Path, no_network: Path) -> None:
    cache = no_network / ".cache" / "huggingface" / "hub" / "models--some--vit"
    write_checkpoint(cache / "snapshots" / "abc")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc")
    resolve_all(settings(repository, "vit_pretrained", checkpoint=CHECKPOINT), root=tmp_path / "w")
    record = read_origin("vit_pretrained", tmp_path / "w" / "vit_pretrained")
    assert (record.origin, record.file) == ("hf:some/vit", "vit")


def test_a_checkpoint_is_downloaded_when_there_is_a_network(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = write_checkpoint(tmp_path / "hub" / "some" / "vit" / "resolve" / "main")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("http_proxy")
    with serving(tmp_path / "hub") as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        resolve_all(settings(repository, "vit_pretrained", checkpoint=CHECKPOINT), root=tmp_path / "w")
    got = tmp_path / "w" / "vit_pretrained" / "vit" / "model.safetensors"
    assert got.read_bytes() == (published / "model.safetensors").read_bytes()


def test_the_record_does_not_tell_where_the_same_weights_were_found(
    repository: Path, tmp_path: Path, no_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_hdf5(no_network / ".keras" / "models" / KERAS_FILE)
    resolve_all(settings(repository, "mobilenet_v2"), root=tmp_path / "cached")
    monkeypatch.setenv("MIEN_WEIGHTS_DIR", str(no_network / ".keras" / "models"))
    resolve_all(settings(repository, "mobilenet_v2"), root=tmp_path / "own")
    assert origin(tmp_path / "cached", "mobilenet_v2") == origin(tmp_path / "own", "mobilenet_v2")


def test_offline_it_goes_on_from_scratch_and_says_so_loudly(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resolve_all(settings(repository, "mobilenet_v2", "resnet50", "lenet"), root=tmp_path / "w")
    for name in ("mobilenet_v2", "resnet50"):
        assert origin(tmp_path / "w", name)["origin"] == "scratch"
    text = capsys.readouterr().out
    assert "WARNING: no pretrained weights for mobilenet_v2, resnet50" in text
    assert "FROM SCRATCH" in text
    assert "does not answer within 1 s" in text


@pytest.mark.parametrize("weights", [{"offline": "fail"}, {"source": "imagenet"}], ids=str)
def test_offline_it_fails_where_weights_are_insisted_on(
    repository: Path, tmp_path: Path, weights: dict[str, str]
) -> None:
    with pytest.raises(WeightsUnavailable, match=r"mobilenet_v2.*MIEN_WEIGHTS_DIR"):
        resolve_all(settings(repository, "mobilenet_v2", **weights), root=tmp_path / "w")
    assert not (tmp_path / "w" / "mobilenet_v2").exists()


@pytest.mark.parametrize("source", ["drawn", "auto"])
def test_drawn_weights_are_taken_without_a_network(
    repository: Path, tmp_path: Path, drawn: Path, source: str
) -> None:
    params = settings(repository, "mobilenet_v2", "vit_pretrained", "lenet", source=source, offline="fail")
    files = {name: write_drawn_weights(drawn, params, name) for name in ("mobilenet_v2", "vit_pretrained")}
    resolve_all(params, root=tmp_path / "w")
    for name, path in files.items():
        record = read_origin(name, tmp_path / "w" / name)
        assert (record.origin, record.file) == ("drawn", path.name)
        assert (tmp_path / "w" / name / path.name).read_bytes() == path.read_bytes()
    assert origin(tmp_path / "w", "lenet")["origin"] == "scratch"


@pytest.mark.parametrize(("source", "taken"), [("drawn", "drawn"), ("auto", "imagenet")])
def test_the_source_decides_which_weights_come_first(
    repository: Path, tmp_path: Path, no_network: Path, drawn: Path, source: str, taken: str
) -> None:
    params = settings(repository, "mobilenet_v2", source=source)
    write_drawn_weights(drawn, params, "mobilenet_v2")
    write_hdf5(no_network / ".keras" / "models" / KERAS_FILE)
    resolve_all(params, root=tmp_path / "w")
    assert origin(tmp_path / "w", "mobilenet_v2")["origin"] == taken


def test_drawn_weights_of_other_options_are_passed_over_and_the_others_are_looked_for(
    repository: Path, tmp_path: Path, no_network: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = settings(repository, "mobilenet_v2", source="drawn")
    options = {"alpha": 0.5}
    other = params.model("mobilenet_v2").model_copy(update={"options": options})
    path = write_drawn_weights(
        drawn, params.model_copy(update={"models": {"mobilenet_v2": other}}), "mobilenet_v2"
    )
    write_hdf5(no_network / ".keras" / "models" / KERAS_FILE)
    resolve_all(params, root=tmp_path / "w")
    assert path.exists()
    assert origin(tmp_path / "w", "mobilenet_v2")["origin"] == "imagenet"
    assert "alpha: 0.5" in capsys.readouterr().out


def test_scratch_and_imagenet_never_take_drawn_weights(repository: Path, tmp_path: Path, drawn: Path) -> None:
    params = settings(repository, "mobilenet_v2", source="scratch")
    write_drawn_weights(drawn, params, "mobilenet_v2")
    resolve_all(params, root=tmp_path / "w")
    assert origin(tmp_path / "w", "mobilenet_v2")["origin"] == "scratch"
    with pytest.raises(WeightsUnavailable):
        resolve_all(settings(repository, "mobilenet_v2", source="imagenet"), root=tmp_path / "w")


def test_scratch_ignores_what_could_be_had_and_drops_what_was(
    repository: Path, tmp_path: Path, no_network: Path
) -> None:
    write_hdf5(no_network / ".keras" / "models" / KERAS_FILE)
    resolve_all(settings(repository, "mobilenet_v2"), root=tmp_path / "w")
    resolve_all(settings(repository, "mobilenet_v2", source="scratch"), root=tmp_path / "w")
    assert [path.name for path in (tmp_path / "w" / "mobilenet_v2").iterdir()] == ["origin.json"]
    assert origin(tmp_path / "w", "mobilenet_v2")["reason"] == "weights.source is scratch"


def test_weights_found_later_are_picked_up(repository: Path, tmp_path: Path, no_network: Path) -> None:
    params = settings(repository, "mobilenet_v2")
    resolve_all(params, root=tmp_path / "w")
    write_hdf5(no_network / ".keras" / "models" / KERAS_FILE)
    resolve_all(params, root=tmp_path / "w")
    assert origin(tmp_path / "w", "mobilenet_v2")["origin"] == "imagenet"


def test_weights_that_are_here_are_kept_when_their_source_goes(
    repository: Path, tmp_path: Path, no_network: Path
) -> None:
    params = settings(repository, "mobilenet_v2")
    cached = write_hdf5(no_network / ".keras" / "models" / KERAS_FILE)
    resolve_all(params, root=tmp_path / "w")
    cached.unlink()
    resolve_all(params, root=tmp_path / "w")
    assert origin(tmp_path / "w", "mobilenet_v2")["origin"] == "imagenet"


def test_weights_of_other_options_are_not_kept(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = write_hdf5(tmp_path / "own" / "mobilenet_v2.weights.h5")
    monkeypatch.setenv("MIEN_WEIGHTS_DIR", str(own.parent))
    params = settings(repository, "mobilenet_v2")
    resolve_all(params, root=tmp_path / "w")
    own.unlink()
    narrow = params.models["mobilenet_v2"].model_copy(update={"options": {"alpha": 0.35}})
    other = params.model_copy(update={"models": {**params.models, "mobilenet_v2": narrow}})
    resolve_all(other, root=tmp_path / "w")
    assert origin(tmp_path / "w", "mobilenet_v2")["origin"] == "scratch"


def test_a_second_run_rewrites_nothing(repository: Path, tmp_path: Path, no_network: Path) -> None:
    write_hdf5(no_network / ".keras" / "models" / KERAS_FILE)
    params = settings(repository, "mobilenet_v2", "resnet50", "lenet")
    resolve_all(params, root=tmp_path / "w")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "w").rglob("*")}
    resolve_all(params, root=tmp_path / "w")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "w").rglob("*")} == before


def test_a_truncated_file_is_passed_over_and_reported(
    repository: Path, tmp_path: Path, no_network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cached = write_hdf5(no_network / ".keras" / "models" / KERAS_FILE)
    cached.write_bytes(cached.read_bytes()[:-10])
    resolve_all(settings(repository, "mobilenet_v2"), root=tmp_path / "w")
    assert origin(tmp_path / "w", "mobilenet_v2")["origin"] == "scratch"
    assert f"{KERAS_FILE} is truncated" in capsys.readouterr().out


def test_a_file_that_was_damaged_here_is_replaced(repository: Path, tmp_path: Path, no_network: Path) -> None:
    cached = write_hdf5(no_network / ".keras" / "models" / KERAS_FILE)
    params = settings(repository, "mobilenet_v2")
    resolve_all(params, root=tmp_path / "w")
    write_hdf5(tmp_path / "w" / "mobilenet_v2" / KERAS_FILE, value=9)
    resolve_all(params, root=tmp_path / "w")
    assert (tmp_path / "w" / "mobilenet_v2" / KERAS_FILE).read_bytes() == cached.read_bytes()


def test_a_folder_setting_that_names_no_folder_fails(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_WEIGHTS_DIR", str(tmp_path / "none"))
    with pytest.raises(WeightsUnavailable, match="is not a folder"):
        resolve_all(settings(repository, "lenet"), root=tmp_path / "w")
