"""The Dockerfiles: hashed locks, no root, no shell between, nothing that does not belong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.utils import canonicalize_name

IMAGES = {
    "serving": ["serving"],
    "tracking": ["tracking"],
    "training": ["pipeline", "serving", "flows"],
}
TRAINING = {"tensorflow", "keras", "keras-hub", "tf2onnx", "dvc", "prefect", "great-expectations"}
# What each of them alone would bring; a light one may come by another way.
TRACES = {"tensorflow-cpu", "tensorboard", "dvc-data", "dvc-objects", "prefect-client", "asyncpg", "honcho"}
# The repository's own, and what starts with every interpreter of a development environment.
OWN = {"flows", "pipelines", "serving", "_distutils_hack", "_virtualenv"}
PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^\s;\\]+)(?: ; (?P<marker>[^\\]+))?", re.M
)


def dockerfile(repository: Path, image: str) -> str:
    return (repository / "deploy" / "docker" / f"{image}.Dockerfile").read_text()


def final_stage(text: str) -> str:
    return text[text.rindex("\nFROM ") :]


def installed(repository: Path, use: str) -> set[str]:
    """Names of the packages that a lock file installs on this system."""
    text = (repository / "requirements" / f"{use}.txt").read_text()
    return {
        canonicalize_name(match["name"])
        for match in PIN.finditer(text)
        if match["marker"] is None or Marker(match["marker"].strip()).evaluate()
    }


def megabytes(name: str) -> float:
    """Of an installed package, by its own list of files."""
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return 0.0
    return sum(file.size or 0 for file in files) / 1e6


@pytest.mark.parametrize("image", ["serving", "tracking"])
def test_no_training_package_slips_in(image: str, repository: Path) -> None:
    names = installed(repository, image)
    print(
        f"\n{image}: {len(names)} packages, {sum(map(megabytes, names)):.0f} MB, not compiled; the largest:"
    )
    for name in sorted(names, key=megabytes, reverse=True)[:8]:
        print(f"  {megabytes(name):6.0f} MB  {name}")
    assert len(names) > 50
    assert not names & (TRAINING | TRACES), f"{image} would hold what only training needs"


def test_training_holds_what_the_flows_need(repository: Path) -> None:
    names = {name for use in IMAGES["training"] for name in installed(repository, use)}
    assert names >= TRAINING | {"evidently", "psycopg", "asyncpg"}


@pytest.mark.parametrize("image", IMAGES)
def test_packages_come_from_the_hashed_locks_only(image: str, repository: Path) -> None:
    text = dockerfile(repository, image)
    synced = re.search(r"pip sync [^\n]*--require-hashes[^\n]*\\\n\s+--python \S+ (.+)", text)
    assert synced is not None
    always, *chosen = synced[1].split(" ${")
    assert re.findall(r"/build/(\w+)\.txt", always) == IMAGES[image]
    assert chosen == ([] if image == "tracking" else ["SIGNING:+/build/signing.txt}"])
    assert text.count("pip install") == text.count("pip install --quiet --no-cache-dir --require-hashes") == 1


def test_uv_is_the_one_of_the_development_lock(repository: Path) -> None:
    pinned = (repository / "deploy/docker/uv.txt").read_text().split("\n", 1)[1]
    assert pinned in (repository / "requirements/dev.txt").read_text()


@pytest.mark.parametrize("image", IMAGES)
def test_it_runs_as_a_number_that_is_not_root_and_gets_signals_itself(image: str, repository: Path) -> None:
    stage = final_stage(dockerfile(repository, image))
    assert re.findall(r"^USER (.+)$", stage, re.MULTILINE) == ["10001:10001"]
    (command,) = re.findall(r"^CMD (.+)$", stage, re.MULTILINE)
    assert isinstance(json.loads(command), list)
    assert "STOPSIGNAL SIGTERM" in stage
    for label in ("title", "description", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in stage


@pytest.mark.parametrize("image", IMAGES)
def test_what_is_copied_is_sent_to_the_build(image: str, repository: Path) -> None:
    ignored = (repository / ".dockerignore").read_text().splitlines()
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    assert "*" in ignored
    for sources in re.findall(
        r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", dockerfile(repository, image), re.MULTILINE
    ):
        for source in sources.split():
            assert (repository / source).exists(), source
            assert any(fnmatch(source, rule) or source.startswith(f"{rule}/") for rule in allowed), source


@pytest.mark.parametrize("image", IMAGES)
def test_every_stage_stands_on_the_one_base(image: str, repository: Path) -> None:
    text = dockerfile(repository, image)
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["${PYTHON}", "${PYTHON}"]
    base = re.search(r"^ARG PYTHON=\S+:(\d+\.\d+)-", text, re.MULTILINE)
    assert base is not None
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    assert f">={base[1]}," in project["requires-python"]
    # No settings of somebody's index stay: they are mounted, and only where something is fetched.
    assert text.count("--mount=type=secret") == 2
    assert "--mount=type=secret" not in final_stage(text)


def test_the_service_image_has_health_and_a_place_for_its_state(repository: Path) -> None:
    stage = final_stage(dockerfile(repository, "serving"))
    assert "/livez" in stage
    assert "VOLUME /var/lib/mien" in stage
    for variable in ("MIEN_CACHE_DIR", "MIEN_KEEP_IMAGES_DIR", "MIEN_DATABASE_URL"):
        assert re.search(rf"{variable}=\S*/var/lib/mien/", stage), variable


WITHOUT = """
import sys

class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in LACKING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Lacking())
import flows.dev_stack.bucket, flows.dev_stack.mlflow_server, flows.dev_stack.wait
import boto3, mlflow.cli, mlflow.server, psycopg
"""


def test_what_the_tracking_image_runs_is_content_with_its_packages(repository: Path) -> None:
    """Imported without all that is installed here and not there."""
    names = installed(repository, "tracking")
    lacking = {
        module
        for module, owners in packages_distributions().items()
        # Several may share a folder (`google`): one of them is enough.
        if module.isidentifier() and not {canonicalize_name(owner) for owner in owners} & names
    }
    assert {"tensorflow", "prefect", "fsspec"} <= lacking
    done = subprocess.run(
        [sys.executable, "-c", f"LACKING = {lacking - OWN!r}{WITHOUT}"],
        cwd=repository, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + "add it to the extra `tracking` and run requirements/lock"
