"""Versions that `register` signs, read back as a reviewer and the service do, with real keys."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from pipelines.core import paths
from pipelines.core.errors import SigningError
from pipelines.register.sign import KEY, PASSWORD, Signer, configured_signer, sign_version
from pipelines.register.stage import register
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import Registry, Version
from serving.model_sync.resolve import resolve_model
from serving.signatures import SIGNATURE, SIGNED_BY, UNSIGNED, verify
from tests.support.registry_world import World, judge_and_register
from tests.support.serving_models import FilledRegistry
from tests.support.signing import KeyPair, flip_byte, make_key, statement

REPOSITORY = Path(__file__).parents[3]
LENIENT = {"min_accuracy": 0.1}
PHRASE = "correct horse"


@pytest.fixture
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outside of the checkout, as keys should be."""
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
def key(keys: Path) -> KeyPair:
    return make_key(keys, "release")


@pytest.fixture(autouse=True)
def _no_key_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (KEY, PASSWORD):
        monkeypatch.delenv(name, raising=False)


def use(monkeypatch: pytest.MonkeyPatch, key: KeyPair) -> None:
    monkeypatch.setenv(KEY, str(key.private))
    if key.password is not None:
        monkeypatch.setenv(PASSWORD, key.password)


def run(world: World) -> None:
    judge_and_register(world, world.params(**LENIENT))


def registry() -> Registry:
    return Registry("emotion", uri=tracking.connect())


def only_version() -> Version:
    [version] = registry().versions()
    return version


def fingerprint(key: KeyPair) -> str:
    return hashlib.sha256(key.public.read_bytes()).hexdigest()


def stored(version: Version) -> Path:
    file = registry().stored_file(version)
    assert file is not None
    return file.parent


def verified_by_hand(folder: Path, key: KeyPair) -> dict[str, str]:
    """Digests that the key signed, by the DSSE specification and without model-signing."""
    envelope = json.loads((folder / SIGNATURE).read_bytes())["dsseEnvelope"]
    kind, payload = envelope["payloadType"], b64decode(envelope["payload"])
    signed = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    public = load_pem_public_key(key.public.read_bytes())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    [signature] = envelope["signatures"]
    public.verify(b64decode(signature["sig"]), signed, ec.ECDSA(SHA256()))
    return {one["name"]: one["digest"] for one in statement(folder)["predicate"]["resources"]}


def test_every_file_of_the_version_is_signed(
    world: World, monkeypatch: pytest.MonkeyPatch, key: KeyPair
) -> None:
    use(monkeypatch, key)
    run(world)
    version = only_version()
    assert version.tags[SIGNED_BY] == fingerprint(key)
    with registry().downloaded(version) as folder:
        found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        signed = verified_by_hand(folder, key)
        assert verify(folder, [key.public]).sha256 == version.sha256
    assert signed == {name: digest for name, digest in found.items() if name not in UNSIGNED}
    assert signed.keys() >= {"model.onnx", "card.md", "reference.parquet", "selftest.npz", "metrics.json"}


def test_a_signed_version_is_what_the_service_accepts(
    world: World, monkeypatch: pytest.MonkeyPatch, key: KeyPair, tmp_path: Path
) -> None:
    """With what MLflow adds to a downloaded folder."""
    use(monkeypatch, key)
    run(world)
    with resolve_model(
        "models:/emotion@production",
        cache=tmp_path / "cache",
        tracking_uri=registry().uri,
        trusted_keys=[key.public],
    ) as found:
        assert (found.folder / "registered_model_meta").exists()
        assert verify(found.folder, [key.public]).signed_by == fingerprint(key)


def test_a_reviewer_checks_a_downloaded_version_with_two_commands(
    world: World, monkeypatch: pytest.MonkeyPatch, key: KeyPair
) -> None:
    use(monkeypatch, key)
    run(world)
    folder = world.root / "version-1"
    variables = {**os.environ, "MLFLOW_TRACKING_URI": registry().uri, "PYTHONPATH": str(REPOSITORY)}

    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *arguments], env=variables, capture_output=True, text=True, timeout=120
        )

    download = ("--artifact-uri", "models:/emotion/1", "--dst-path", str(folder))
    assert ask("mlflow", "artifacts", "download", *download).returncode == 0
    check = ("serving.signatures", str(folder), "--key", str(key.public))
    done = ask(*check)
    answer = {"signed_by": fingerprint(key), "sha256": only_version().sha256}
    assert (done.returncode, json.loads(done.stdout)) == (0, answer), done.stderr
    flip_byte(folder / "card.md")
    done = ask(*check)
    assert done.returncode == 1
    assert "card.md" in json.loads(done.stdout)["problem"]


def test_without_a_key_nothing_is_signed(world: World) -> None:
    run(world)
    assert SIGNED_BY not in only_version().tags
    assert not (stored(only_version()) / SIGNATURE).exists()


def test_an_encrypted_key_signs_and_leaves_no_trace(
    world: World, monkeypatch: pytest.MonkeyPatch, keys: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    key = make_key(keys, "locked", password=PHRASE)
    use(monkeypatch, key)
    run(world)
    assert verify(stored(only_version()), [key.public])
    secrets = (PHRASE.encode(), key.private.read_bytes().splitlines()[1])
    for path in world.root.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(secret in data for secret in secrets), path
    assert not any(secret.decode() in "".join(capfd.readouterr()) for secret in secrets)


def test_a_registered_version_is_signed_by_the_next_run_with_a_key(
    world: World, monkeypatch: pytest.MonkeyPatch, key: KeyPair
) -> None:
    run(world)
    use(monkeypatch, key)
    register(Path(), world.params(**LENIENT))
    assert verify(stored(only_version()), [key.public])
    assert only_version().tags[SIGNED_BY] == fingerprint(key)
    # From then on nothing is left to do, with the key and without it.
    before = (world.root / paths.MLFLOW_DATABASE).read_bytes()
    assert "already registered" in register(Path(), world.params(**LENIENT))
    monkeypatch.delenv(KEY)
    assert "already registered" in register(Path(), world.params(**LENIENT))
    assert (world.root / paths.MLFLOW_DATABASE).read_bytes() == before


def test_files_that_are_stored_again_without_the_key_do_not_count_as_signed(
    world: World, monkeypatch: pytest.MonkeyPatch, key: KeyPair
) -> None:
    use(monkeypatch, key)
    run(world)
    shutil.rmtree(world.root / paths.MLFLOW_ARTIFACTS)
    monkeypatch.delenv(KEY)
    run(world)
    assert SIGNED_BY not in only_version().tags


def command(version: int, *more: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.register.sign", str(version), *more],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **variables},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.fixture
def _parameters(world: World) -> None:
    """What the command reads from the current folder."""
    shutil.copy(REPOSITORY / "params.yaml", world.root)


@pytest.mark.usefixtures("_parameters")
def test_the_command_signs_an_unsigned_version(world: World, key: KeyPair) -> None:
    run(world)
    description = only_version().description
    done = command(1, **{KEY: str(key.private)})
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"emotion version 1 is signed with the key {fingerprint(key)[:16]}…\n"
    version = only_version()
    assert (version.tags[SIGNED_BY], version.description) == (fingerprint(key), description)
    assert verify(stored(version), [key.public])
    assert "is already signed" in command(1, **{KEY: str(key.private)}).stdout
    assert command(1).returncode == 1


def test_rotation_signs_again_only_what_the_old_key_vouches_for(
    world: World, monkeypatch: pytest.MonkeyPatch, key: KeyPair, keys: Path
) -> None:
    use(monkeypatch, key)
    run(world)
    pair = make_key(keys, "next", curve=ec.SECP521R1())
    signer = Signer(pair.private)
    with pytest.raises(SigningError) as error:
        sign_version(registry(), 1, signer)
    assert "--trusted" in str(error.value)
    card = stored(only_version()) / "card.md"
    flip_byte(card)
    with pytest.raises(SigningError) as error:
        sign_version(registry(), 1, signer, trusted=[key.public])
    assert "card.md" in str(error.value)
    flip_byte(card)
    sign_version(registry(), 1, signer, trusted=[key.public])
    assert only_version().tags[SIGNED_BY] == fingerprint(pair)
    assert verify(stored(only_version()), [key.public, pair.public]).signed_by == fingerprint(pair)


def test_a_key_that_cannot_be_used_is_an_error_before_anything_is_stored(
    world: World, monkeypatch: pytest.MonkeyPatch, keys: Path, key: KeyPair
) -> None:
    locked = make_key(keys, "locked", password=PHRASE)
    curve = make_key(keys, "koblitz", curve=ec.SECP256K1())
    cases = [
        (locked.private, None), (locked.private, "wrong"), (key.private, "needless"), (key.public, None),
        (keys / "absent", None), (curve.private, None),
    ]  # fmt: skip
    for path, password in cases:
        monkeypatch.setenv(KEY, str(path))
        monkeypatch.setenv(PASSWORD, password or "")
        with pytest.raises(SigningError) as error:
            configured_signer()
        assert str(path) in str(error.value)
        assert "wrong" not in str(error.value)
    with pytest.raises(SigningError):
        run(world)
    assert registry().versions() == []


def test_a_version_whose_files_are_elsewhere_is_not_marked_as_signed(world: World, key: KeyPair) -> None:
    filled = FilledRegistry(registry().uri, world.root / "by hand")
    number = int(filled.add(seed=1))
    with pytest.raises(SigningError):
        sign_version(registry(), number, Signer(key.private))
    assert SIGNED_BY not in only_version().tags
