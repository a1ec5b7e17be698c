"""What MIEN_MODEL may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.errors.operation import LocationInvalid
from serving.model_sync.location import OnDisk, Registered, parse_location


@pytest.mark.parametrize(
    ("text", "by", "value"),
    [
        ("models:/emotion@production", "alias", "production"),
        ("models:/emotion@my-Alias.2", "alias", "my-Alias.2"),
        ("models:/emotion/Production", "stage", "Production"),
        ("models:/emotion/staging", "stage", "Staging"),
        ("models:/emotion/3", "version", "3"),
        ("models:/emotion/latest", "latest", "latest"),
        (" models:/emotion/007 ", "version", "7"),
    ],
)
def test_registered_models(text: str, by: str, value: str) -> None:
    found = parse_location(text)
    assert isinstance(found, Registered)
    assert (found.name, found.by, found.value) == ("emotion", by, value)


def test_names_with_spaces_and_dashes() -> None:
    found = parse_location("models:/my emotion-2@x")
    assert isinstance(found, Registered)
    assert found.name == "my emotion-2"


def test_written_out_it_is_read_back() -> None:
    for text in ("models:/a@b", "models:/a/3", "models:/a/Archived", "models:/a/latest"):
        assert str(parse_location(text)) == text


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_location("onnx/model.onnx") == OnDisk(path=tmp_path / "onnx/model.onnx")
    assert parse_location(str(tmp_path)) == OnDisk(path=tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "models:/emotion", "models:/", "models:/a/b/c", "models:/emotion/Live", "models:/x'y@z",
     "runs:/abc/model", "/models/\udcff/model.onnx", "s3://bucket/model.onnx", "https://example.com/model.onnx"],
)  # fmt: skip
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(LocationInvalid, match="expected models:/NAME@ALIAS"):
        parse_location(text)


def test_a_word_that_is_not_a_stage_may_be_meant_as_alias() -> None:
    with pytest.raises(LocationInvalid, match=r"models:/emotion@champion for an alias"):
        parse_location("models:/emotion/champion")


def test_a_bare_name_that_is_not_a_file_gets_the_uri_suggested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LocationInvalid, match=r"models:/emotion@production"):
        parse_location("emotion")
    # With a folder or an ending it is a path, which may be filled later.
    assert parse_location("./emotion") == OnDisk(path=tmp_path / "emotion")
    assert parse_location("emotion.onnx") == OnDisk(path=tmp_path / "emotion.onnx")
    (tmp_path / "emotion").mkdir()
    assert parse_location("emotion") == OnDisk(path=tmp_path / "emotion")
