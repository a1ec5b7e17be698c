"""The weekly look at published files tells a missing, a changed and a cut-off file from the official one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pipelines.weights import face_model
from serving.contract.faces import YUNET_FILE
from tests.network.published_files import face_model_problem, found, weights_problem
from tests.support.weight_files import serving, write_hdf5


def test_a_weights_file_is_held_to_its_digest(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "there.h5")
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    write_hdf5(tmp_path / "changed.h5", value=2.0)
    with serving(tmp_path) as base:
        assert weights_problem(f"{base}/there.h5", md5=md5) is None
        assert md5 in (weights_problem(f"{base}/changed.h5", md5=md5) or "")
        assert "404" in (weights_problem(f"{base}/gone.h5", md5=md5) or "")


def test_the_detectors_file_is_held_to_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").write_bytes(b"official")
    (tmp_path / "changed").write_bytes(b"another")
    (tmp_path / "pointer").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    digest = hashlib.sha256(b"official").hexdigest()
    monkeypatch.setattr(face_model, "YUNET_SHA256", digest)
    with serving(tmp_path) as base:
        assert face_model_problem(f"{base}/there") is None
        assert digest in (face_model_problem(f"{base}/changed") or "")
        assert "Git LFS" in (face_model_problem(f"{base}/pointer") or "")
        assert "404" in (face_model_problem(f"{base}/gone") or "")


def test_every_address_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The detector's two addresses and the three networks of Keras."""
    asked: list[str] = []
    monkeypatch.setattr("tests.network.published_files.face_model_problem", asked.append)
    monkeypatch.setattr(
        "tests.network.published_files.weights_problem", lambda url, *, md5: asked.append(url)
    )
    assert [problem for _, problem in found()] == [None] * 5
    assert sum(url.endswith(YUNET_FILE) for url in asked) == 2
    names = ("mobilenet_v2", "resnet50", "efficientnetb4")
    assert all(sum(name in url for url in asked) == 1 for name in names)
