"""The service that trusts keys, as a process and with its canary and shadow: only signed models answer."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.signatures import SIGNED_BY
from tests.support.http_process import PYTHON_M, UVICORN, ended, running
from tests.support.http_service import serving, settings_in, until
from tests.support.mlflow_store import new_store
from tests.support.serving_models import NAME, FilledRegistry, model_folder
from tests.support.signing import KeyPair, make_key
from tests.support.trials import SHADOW_S, ask

# Several times what the poller, the worker and their checks take.
PATIENCE_S = 120.0


@pytest.fixture
def key(tmp_path: Path) -> KeyPair:
    return make_key(tmp_path, "release")


@pytest.fixture
def registry(tmp_path: Path) -> FilledRegistry:
    return FilledRegistry(new_store(tmp_path), tmp_path / "artifacts")


def add(registry: FilledRegistry, seed: int, key: KeyPair | None, alias: str) -> str:
    version = registry.add(seed=seed)
    if key is not None:
        fingerprint = key.sign(registry.artifacts / f"v{int(version) - 1}")
        registry.client.set_model_version_tag(NAME, version, SIGNED_BY, fingerprint)
    registry.promote(version, alias)
    return version


def test_an_unsigned_version_is_refused_once_and_the_signed_one_keeps_answering(
    registry: FilledRegistry, tmp_path: Path, key: KeyPair
) -> None:
    signed = add(registry, 1, key, "production")
    given = {
        "MIEN_MODEL": f"models:/{NAME}@production",
        "MIEN_TRACKING_URI": registry.uri,
        "MIEN_TRUSTED_KEYS": f"{make_key(tmp_path, 'next').public}, {key.public}",
        "MIEN_POLL_S": "0.2",
    }
    with running(tmp_path, **given) as (process, client):
        live = client.get("/model").json()["live"]
        fingerprint = key.sign(tmp_path / "artifacts/v0")
        assert (live["version"], live["signed_by"]) == (signed, fingerprint)
        until(lambda: client.get("/model/history").json()["switches"], PATIENCE_S)
        [switch] = client.get("/model/history").json()["switches"]
        assert (switch["signature"], switch["signed_by"]) == ("trusted", fingerprint)
        unsigned = add(registry, 2, None, "production")
        until(lambda: client.get("/model").json()["following"]["refused"], PATIENCE_S)
        refused = client.get("/model").json()["following"]["refused"]
        assert (refused["version"], refused["step"]) == (unsigned, "signature")
        checked = client.get("/model").json()["following"]["checked_at"]
        # Some polls later.
        until(lambda: client.get("/model").json()["following"]["checked_at"] > checked, PATIENCE_S)
        time.sleep(1.0)
        assert client.get("/model").json()["live"]["version"] == signed
        assert ask(client, 0).json()["model"]["version"] == signed
        process.terminate()
        _, log = process.communicate(timeout=PATIENCE_S)
    said = [line for line in log.splitlines() if "refused at its signature" in line]
    assert len(said) == 1, log
    assert json.loads(said[0])["level"] == "WARNING"


def test_canary_and_shadow_are_held_to_it_too(registry: FilledRegistry, tmp_path: Path, key: KeyPair) -> None:
    live, candidate = add(registry, 1, key, "production"), add(registry, 2, None, "candidate")
    settings = settings_in(
        tmp_path,
        model=f"models:/{NAME}@production",
        tracking_uri=registry.uri,
        trusted_keys=(key.public,),
        canary=1.0,
        canary_model=f"models:/{NAME}@candidate",
        shadow_model=f"models:/{NAME}/{candidate}",
        shadow_fraction=1.0,
    )
    with serving(settings) as client:
        until(lambda: client.get("/readyz").status_code == 200, PATIENCE_S)
        until(lambda: "signature" in client.get("/model").json()["canary"]["reason"], PATIENCE_S)
        until(lambda: "signature" in str(client.get("/model/shadow").json()["reason"]), SHADOW_S)
        # Each request would be the candidate's.
        assert {ask(client, 0).json()["model"]["version"] for _ in range(5)} == {live}
        key.sign(registry.artifacts / "v1")
        registry.client.set_model_version_tag(NAME, candidate, SIGNED_BY, "another stamp")
        until(lambda: ask(client, 0).json()["model"]["version"] == candidate, PATIENCE_S)
        until(lambda: "canary" in {one["kind"] for one in history(client)}, PATIENCE_S)
        signers = {one["to_version"]: (one["signature"], one["signed_by"]) for one in history(client)}
        assert signers == dict.fromkeys((live, candidate), ("trusted", key.sign(registry.artifacts / "v0")))


def history(client: httpx.Client) -> list[dict[str, Any]]:
    return list(client.get("/model/history").json()["switches"])


@pytest.mark.parametrize("way", [PYTHON_M, UVICORN], ids=["python -m serving", "uvicorn"])
def test_without_the_extra_it_does_not_start(tmp_path: Path, key: KeyPair, way: tuple[str, ...]) -> None:
    """The library cannot be imported, as in an environment of requirements/serving.txt."""
    model_folder(tmp_path / "model")
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Lacking:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'model_signing':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Lacking())\n"
    )
    given = {"MIEN_PORT": "0", "MIEN_TRUSTED_KEYS": str(key.public), "PYTHONPATH": str(tmp_path)}
    done = ended(way, tmp_path, **given)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
    assert done.stderr.startswith(
        "MIEN_TRUSTED_KEYS: the package model_signing of the extra `signing` is missing"
    )
    assert "requirements/signing.txt" in done.stderr


def test_a_key_that_is_not_public_stops_the_start(tmp_path: Path, key: KeyPair) -> None:
    model_folder(tmp_path / "model")
    for value in (str(key.private), f"{key.public},{tmp_path}/absent.pub", " , "):
        done = ended(PYTHON_M, tmp_path, MIEN_PORT="0", MIEN_TRUSTED_KEYS=value)
        assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
        assert done.stderr.startswith("MIEN_TRUSTED_KEYS")
