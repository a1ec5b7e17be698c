"""A model's identity on disk."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from serving.errors import ModelRefused
from serving.inference.model_slot import LINEAGE, ModelIdentity, read_identity, write_identity

IDENTITY = ModelIdentity(
    name="emotion", version="3", sha256="a" * 64, source="models:/emotion/3", run_id="r" * 32,
    git_commit="c" * 40, dirty=True, dataset="d" * 64, data_dvc="e", architecture="lenet", weights="scratch",
    sample=True,
)  # fmt: skip


def test_is_read_back_as_written(tmp_path: Path) -> None:
    write_identity(tmp_path, IDENTITY)
    assert read_identity(tmp_path) == IDENTITY


def test_keys_of_a_later_release_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / LINEAGE).write_text(json.dumps(asdict(IDENTITY) | {"mood": "good"}))
    assert read_identity(tmp_path) == IDENTITY


@pytest.mark.parametrize(
    "change", [{"version": 3}, {"sample": "yes"}, {"dirty": "yes"}, {"name": None}, {"source": "\udcff"}]
)
def test_a_wrong_type_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    (tmp_path / LINEAGE).write_text(json.dumps(asdict(IDENTITY) | change))
    with pytest.raises(ModelRefused, match=next(iter(change))):
        read_identity(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"name": "emotion"}'])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / LINEAGE).write_text(text)
    with pytest.raises(ModelRefused, match="lineage"):
        read_identity(tmp_path)
