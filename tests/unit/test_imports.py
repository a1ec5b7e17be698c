"""Importing costs little and does nothing."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import flows
import pipelines
import serving

HEAVY = ("tensorflow", "keras", "keras_hub", "tf2onnx")


def modules_of(package: ModuleType) -> list[str]:
    return [
        found.name
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not found.name.endswith("__main__")
    ]


def loaded_after_importing(modules: list[str], folder: Path) -> set[str]:
    code = (
        f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name)\nprint(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(pipelines.__file__).parents[1])},
    )
    assert done.stderr == ""
    return {name.split(".")[0] for name in done.stdout.split()}


def test_no_module_of_pipelines_imports_tensorflow(tmp_path: Path) -> None:
    """Those that train, export or explain load it when they are called, not before."""
    loaded = loaded_after_importing(["pipelines", *modules_of(pipelines)], tmp_path)
    assert not loaded.intersection(HEAVY)
    assert not loaded.intersection({"prefect", "fastapi", "dvc"})


def test_importing_leaves_nothing_behind(tmp_path: Path) -> None:
    loaded_after_importing([*modules_of(pipelines), *modules_of(serving), *modules_of(flows)], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_service_loads_no_training_stack(tmp_path: Path) -> None:
    loaded = loaded_after_importing(["serving", *modules_of(serving)], tmp_path)
    assert not loaded.intersection({*HEAVY, "dvc", "prefect", "great_expectations", "pipelines", "flows"})


def test_contract_needs_numpy_and_opencv_only(tmp_path: Path) -> None:
    names = [name for name in modules_of(serving) if name.startswith("serving.contract")]
    others = loaded_after_importing(names, tmp_path) - sys.stdlib_module_names
    of_numpy_and_opencv = loaded_after_importing(["numpy", "cv2"], tmp_path) - sys.stdlib_module_names
    assert others == of_numpy_and_opencv | {"serving"}


def test_every_package_of_the_service_lists_its_importers(repository: Path) -> None:
    """A package that no import contract names could be imported by any other one."""
    linter = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["importlinter"]
    named = {module for contract in linter["contracts"] for module in contract.get("protected_modules", [])}
    packages = {f"serving.{path.parent.name}" for path in repository.glob("serving/*/__init__.py")}
    open_to_all = {"serving.contract", "serving.errors"}  # what training and serving share
    listed = {".".join(module.split(".")[:2]) for module in named}
    assert packages - listed == open_to_all
