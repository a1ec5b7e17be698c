"""The lock files are those of `pyproject.toml`, carry hashes, and name no address."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

USES = {
    "pipeline": ["pipeline"],
    "serving": ["serving"],
    "flows": ["flows"],
    "tracking": ["tracking"],
    "signing": ["signing"],
    "dev": ["pipeline", "serving", "flows", "signing", "dev"],
}
PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)


def locked(repository: Path, use: str) -> dict[str, set[str]]:
    text = (repository / "requirements" / f"{use}.txt").read_text()
    pins: dict[str, set[str]] = {}
    for name, version in PINNED.findall(text):
        pins.setdefault(canonicalize_name(name), set()).add(version)
    return pins


@pytest.mark.parametrize("use", USES)
def test_every_requirement_is_locked_within_its_bounds(use: str, repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in USES[use]:
        wanted += project["optional-dependencies"][extra]
    pins = locked(repository, use)
    for requirement in map(Requirement, wanted):
        versions = pins.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement.name} is not in requirements/{use}.txt; run `make lock`"
        assert all(requirement.specifier.contains(version) for version in versions), requirement


@pytest.mark.parametrize("use", USES)
def test_every_pin_has_a_hash_and_no_address(use: str, repository: Path) -> None:
    text = (repository / "requirements" / f"{use}.txt").read_text()
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text)
    pinned = [block for block in blocks if PINNED.match(block)]
    assert pinned
    assert all("--hash=sha256:" in block for block in pinned)
    assert "://" not in text


def test_environments_agree_on_every_version(repository: Path) -> None:
    everything = locked(repository, "dev")
    for use in USES.keys() - {"dev"}:
        for name, versions in locked(repository, use).items():
            assert versions == everything[name], (use, name)


def test_service_installs_no_training_stack(repository: Path) -> None:
    heavy = {"tensorflow", "keras", "keras-hub", "tf2onnx", "dvc", "prefect", "great-expectations"}
    assert not heavy & locked(repository, "serving").keys()


def test_signing_comes_only_with_its_extra(repository: Path) -> None:
    for use in USES.keys() - {"dev", "signing"}:
        assert not {"model-signing", "sigstore"} & locked(repository, use).keys()


def test_locks_resolve_to_themselves(repository: Path, tmp_path: Path) -> None:
    """Resolving again from `pyproject.toml`, offered the same pins, changes nothing."""
    for use in USES:
        (tmp_path / f"{use}.txt").write_text((repository / "requirements" / f"{use}.txt").read_text())
    subprocess.run(
        [repository / "requirements" / "lock"],
        check=True,
        capture_output=True,
        env=os.environ | {"OUT": str(tmp_path)},
    )
    for use in USES:
        resolved = (tmp_path / f"{use}.txt").read_text()
        assert resolved == (repository / "requirements" / f"{use}.txt").read_text(), (
            f"run `make lock` ({use})"
        )
