"""Whole and broken weights files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import pytest

from pipelines.weights.local import problem_with
from tests.support.weight_files import write_checkpoint, write_hdf5


@pytest.mark.parametrize("library", ["earliest", "latest"])
def test_a_whole_hdf5_file_of_any_version_is_fine_and_a_truncated_one_is_not(
    tmp_path: Path, library: str
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver=library) as file:
        file["x"] = list(range(1000))
    assert problem_with(path) is None
    path.write_bytes(path.read_bytes()[:-1])
    assert "truncated" in str(problem_with(path))


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"<html>Not found</html>" * 10])
def test_anything_else_is_not_an_hdf5_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    assert "not an HDF5 file" in str(problem_with(path))


def test_the_published_hash_must_hold(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "a.h5")
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    assert problem_with(path, md5=digest) is None
    assert "published is 000" in str(problem_with(path, md5="000"))


def test_a_checkpoint_needs_both_files_whole(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "vit")
    assert problem_with(folder) is None
    tensors = folder / "model.safetensors"
    content = tensors.read_bytes()
    tensors.write_bytes(content[:-1])
    assert "truncated" in str(problem_with(folder))
    tensors.write_bytes(b"\x10\0\0\0\0\0\0\0not a json head.")
    assert "not a safetensors file" in str(problem_with(folder))
    tensors.unlink()
    assert "has no model.safetensors" in str(problem_with(folder))


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    assert "No such file" in str(problem_with(tmp_path / "none.h5"))
