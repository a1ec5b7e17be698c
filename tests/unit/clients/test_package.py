"""The client's distribution: whole, typed, with one dependency, apart from the project."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import mien_client
from tests.support.client_package import SOURCE, build_wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def loaded(statement: str, wheel: Path, folder: Path) -> set[str]:
    """The libraries that a program loads which finds the wheel, and not the project."""
    code = f"import sys\nbefore = set(sys.modules)\n{statement}\nprint(*set(sys.modules) - before)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(wheel)},
    )
    return {name.partition(".")[0] for name in done.stdout.split()} - sys.stdlib_module_names


def test_the_wheel_has_every_module_the_licence_and_the_mark_of_types(wheel: Path, repository: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        licence = archive.read(f"mien_client-{mien_client.__version__}.dist-info/licenses/LICENSE")
    modules = {f"mien_client/{path.name}" for path in (SOURCE / "mien_client").glob("*.py")}
    assert modules | {"mien_client/py.typed"} == {
        name for name in names if name.startswith("mien_client/") and not name.endswith("/")
    }
    assert licence == (repository / "LICENSE").read_bytes()


def test_the_metadata_name_one_dependency_with_bounds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    assert (metadata["Name"], metadata["Version"]) == ("mien-client", mien_client.__version__)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    [requirement] = map(Requirement, metadata.get_all("Requires-Dist") or [])
    assert requirement.name == "httpx"
    assert {clause.operator for clause in requirement.specifier} == {">=", "<"}


def test_it_loads_httpx_and_nothing_of_the_project(wheel: Path, tmp_path: Path) -> None:
    assert loaded("import mien_client", wheel, tmp_path) == loaded("import httpx", wheel, tmp_path) | {
        "mien_client"
    }


def test_every_exported_name_exists() -> None:
    assert mien_client.__all__ == sorted(mien_client.__all__)
    assert all(hasattr(mien_client, name) for name in mien_client.__all__)
