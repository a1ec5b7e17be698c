"""Signed models in a real registry: the poller's polls one by one, and the watcher, with real keys."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from serving.errors import ModelRefused, SignatureInvalid
from serving.errors.operation import RegistryUnavailable, StartRefused
from serving.inference.admission import admit
from serving.inference.model_slot import ModelSignature, ModelSlot
from serving.model_sync.location import OnDisk, Registered, parse_location
from serving.model_sync.poller import Poller
from serving.model_sync.resolve import resolve_model
from serving.model_sync.service import absolute_uri
from serving.model_sync.sources import DiskSource, RegistrySource
from serving.model_sync.state import read_target
from serving.model_sync.watcher import Watcher
from serving.signatures import SIGNATURE, SIGNED_BY, SignedFiles, check_keys, signature_check, verify
from tests.support.serving_models import NAME, FilledRegistry, cached_folder, model_folder, sha256_of
from tests.support.signing import KeyPair, flip_byte, make_key, statement
from tests.support.switches import RecordedSwitches

WHERE = "models:/emotion@production"


@pytest.fixture
def key(tmp_path: Path) -> KeyPair:
    return make_key(tmp_path, "release")


@pytest.fixture
def other(tmp_path: Path) -> KeyPair:
    return make_key(tmp_path, "other", curve=ec.SECP384R1())


def add(registry: FilledRegistry, seed: int, key: KeyPair | None) -> str:
    """Register a version with a card, signed if there is a key, and promote it."""
    version = registry.add(seed=seed)
    folder = stored(registry, version)
    (folder / "card.md").write_text("# What it is for\n", encoding="utf-8")
    if key is not None:
        sign(registry, version, key)
    registry.promote(version)
    return version


def stored(registry: FilledRegistry, version: str) -> Path:
    return registry.artifacts / f"v{int(version) - 1}"


def sign(registry: FilledRegistry, version: str, key: KeyPair) -> None:
    registry.client.set_model_version_tag(NAME, version, SIGNED_BY, key.sign(stored(registry, version)))


class Side:
    """Poller and worker that trust these keys, looking when the test says so."""

    def __init__(self, registry: FilledRegistry, state: Path, keys: Sequence[KeyPair]) -> None:
        location = parse_location(WHERE)
        assert isinstance(location, Registered)
        signed = signature_check([key.public for key in keys])
        state.mkdir(exist_ok=True)
        self.state = state
        self.slot = ModelSlot()
        self.watcher = Watcher(state, self.slot, location=WHERE, threads=1, max_batch=2, signed=signed)
        self.poller = Poller(RegistrySource(location, tracking_uri=registry.uri), state, signed=signed)

    def step(self) -> str | None:
        """One poll, and one look of the worker; the live version."""
        self.poller.check()
        self.watcher.look()
        return self.slot.current.identity.version if self.slot.current else None

    @property
    def refused(self) -> tuple[str, str, str] | None:
        """Version, step and reason of the refused download."""
        target = read_target(self.state)
        assert target is not None
        refused = target.refused
        return (refused.version, refused.step, refused.reason) if refused is not None else None


def test_a_signed_version_goes_live_and_says_who_signed_it(
    registry: FilledRegistry, tmp_path: Path, key: KeyPair
) -> None:
    version = add(registry, 1, key)
    side = Side(registry, tmp_path / "state", [key])
    assert side.step() == version
    live = side.slot.current
    assert live is not None
    assert live.signed_by == subprocess.check_output(["sha256sum", key.public], text=True).split()[0]
    assert {one["name"] for one in statement(live.folder)["predicate"]["resources"]} == {
        "card.md", "model.onnx", "selftest.npz",
    }  # fmt: skip


def test_a_service_that_trusts_no_key_says_what_the_signature_claims(
    registry: FilledRegistry, tmp_path: Path, key: KeyPair
) -> None:
    side = Side(registry, tmp_path / "state", [])
    history = RecordedSwitches()
    side.watcher = Watcher(side.state, side.slot, location=WHERE, threads=1, max_batch=2, history=history)
    add(registry, 1, None)
    side.step()
    signed = add(registry, 2, key)
    # Changed after it was signed: a claim that was not checked.
    flip_byte(stored(registry, signed) / "card.md")
    side.step()
    printed = subprocess.check_output(["sha256sum", key.public], text=True).split()[0]
    assert history.signatures == [
        ModelSignature(state="missing", signed_by=None),
        ModelSignature(state="unchecked", signed_by=printed),
    ]
    live = side.slot.current
    assert live is not None
    assert live.signed_by is None, "it is not proven"


def with_hint(folder: Path, hint: object) -> None:
    bundle = json.loads((folder / SIGNATURE).read_text())
    bundle["verificationMaterial"]["publicKey"]["hint"] = hint
    (folder / SIGNATURE).write_text(json.dumps(bundle))


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "empty": lambda folder: (folder / SIGNATURE).write_bytes(b""),
    "binary": lambda folder: (folder / SIGNATURE).write_bytes(bytes(range(256))),
    "deep": lambda folder: (folder / SIGNATURE).write_text("[" * 100_000),
    "large": lambda folder: (folder / SIGNATURE).write_text(
        f"{(folder / SIGNATURE).read_text()}{' ' * 2**20}"
    ),
    "markup": lambda folder: with_hint(folder, "<img src=x onerror=alert(1)>"),
    "long": lambda folder: with_hint(folder, "a" * 100_000),
    "number": lambda folder: with_hint(folder, 7),
    "line-end": lambda folder: with_hint(folder, "ab" * 32 + "\n"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_signature_names_no_key_and_refuses_no_model_where_none_is_checked(
    tmp_path: Path, key: KeyPair, name: str
) -> None:
    folder = cached_folder(tmp_path / "model")
    key.sign(folder)
    UNREADABLE[name](folder)
    live = admit(folder, threads=1, max_batch=2)
    assert live.signature == ModelSignature(state="unchecked", signed_by=None)


def unsigned(folder: Path, other: KeyPair) -> None:
    (folder / SIGNATURE).unlink()


def signed_by_another(folder: Path, other: KeyPair) -> None:
    other.sign(folder)


def signed_in_the_name_of_the_key(folder: Path, other: KeyPair) -> None:
    """By another key, with the fingerprint of the trusted one."""
    genuine = json.loads((folder / SIGNATURE).read_text())
    flip_byte(folder / "card.md")
    other.sign(folder)
    forged = json.loads((folder / SIGNATURE).read_text())
    forged["verificationMaterial"] = genuine["verificationMaterial"]
    (folder / SIGNATURE).write_text(json.dumps(forged))


def byte_of_the_model(folder: Path, other: KeyPair) -> None:
    flip_byte(folder / "model.onnx")


def byte_of_the_card(folder: Path, other: KeyPair) -> None:
    flip_byte(folder / "card.md")


def byte_of_the_signature(folder: Path, other: KeyPair) -> None:
    bundle = json.loads((folder / SIGNATURE).read_text())
    [signature] = bundle["dsseEnvelope"]["signatures"]
    signature["sig"] = signature["sig"].swapcase()
    (folder / SIGNATURE).write_text(json.dumps(bundle))


def file_more(folder: Path, other: KeyPair) -> None:
    (folder / "reference.parquet").write_bytes(b"PAR1")


def file_less(folder: Path, other: KeyPair) -> None:
    (folder / "selftest.npz").unlink()


def no_signature_at_all(folder: Path, other: KeyPair) -> None:
    (folder / SIGNATURE).write_text("{}")


Change = Callable[[Path, KeyPair], None]
POLLED: tuple[Change, ...] = (unsigned, signed_by_another, byte_of_the_model, byte_of_the_card)
"""What the poller is shown; a poll takes seconds."""
CHANGES: tuple[Change, ...] = (
    *POLLED, signed_in_the_name_of_the_key, byte_of_the_signature, file_more, file_less, no_signature_at_all,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_after_any_change_the_signature_does_not_hold(
    tmp_path: Path, key: KeyPair, other: KeyPair, change: Change
) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / "card.md").write_text("# What it is for\n", encoding="utf-8")
    key.sign(folder)
    assert verify(folder, [other.public, key.public]).sha256 == sha256_of(folder)
    change(folder, other)
    with pytest.raises(SignatureInvalid):
        verify(folder, [key.public])


@pytest.mark.parametrize("change", POLLED, ids=lambda change: change.__name__)
def test_anything_else_is_refused_and_the_live_model_stays(
    registry: FilledRegistry, tmp_path: Path, key: KeyPair, other: KeyPair, change: Change
) -> None:
    first = add(registry, 1, key)
    side = Side(registry, tmp_path / "state", [key])
    side.step()
    second = add(registry, 2, key)
    change(stored(registry, second), other)
    # Everyone who may promote may also set the tag that says which file was registered.
    registry.client.set_model_version_tag(NAME, second, "sha256", sha256_of(stored(registry, second)))
    assert side.step() == first
    assert side.refused is not None
    assert side.refused[:2] == (second, "signature")
    # Nothing of it is kept.
    assert [path.name.split("-")[0] for path in (tmp_path / "state/models").iterdir()] == [first]
    # It is not fetched again.
    shutil.rmtree(stored(registry, second))
    assert side.step() == first
    assert side.refused[:2] == (second, "signature")
    registry.promote(first)
    assert side.step() == first
    assert side.refused is None


def test_one_of_two_keys_suffices_and_a_removed_one_counts_no_more(
    registry: FilledRegistry, tmp_path: Path, key: KeyPair, other: KeyPair
) -> None:
    first, second = add(registry, 1, key), add(registry, 2, other)
    both = Side(registry, tmp_path / "state", [key, other])
    for version in (first, second, first):
        registry.promote(version)
        assert both.step() == version
    # The service starts again and trusts one key; both versions are still in its cache.
    after = Side(registry, tmp_path / "state", [key])
    assert after.step() == first
    registry.promote(second)
    assert after.step() == first
    assert after.refused is not None
    assert after.refused[:2] == (second, "signature")
    assert "MIEN_TRUSTED_KEYS" in after.refused[2]


def test_a_version_that_is_signed_later_is_fetched_again(
    registry: FilledRegistry, tmp_path: Path, key: KeyPair
) -> None:
    version = add(registry, 1, None)
    assert Side(registry, tmp_path / "state", []).step() == version
    strict = Side(registry, tmp_path / "state", [key])
    assert strict.step() is None
    assert strict.refused is not None
    sign(registry, version, key)
    assert strict.step() == version
    assert strict.refused is None


def test_a_cached_model_is_checked_too(registry: FilledRegistry, tmp_path: Path, key: KeyPair) -> None:
    version = add(registry, 1, key)
    state = tmp_path / "state"
    assert Side(registry, state, [key]).step() == version
    [folder] = (state / "models").iterdir()
    again = Side(registry, state, [key])
    again.watcher.look()
    assert again.slot.current is not None
    flip_byte(folder / "card.md")
    late = Side(registry, state, [key])
    late.watcher._look(first=True)
    assert late.slot.current is None
    # The registry still has what was signed.
    assert late.step() == version
    assert (folder / "card.md").read_text(encoding="utf-8").startswith("# What")


def test_a_model_that_is_replaced_after_the_check_is_refused(tmp_path: Path, key: KeyPair) -> None:
    """The bytes that are loaded count, not what the cache says of them."""
    replacement = model_folder(tmp_path / "other", seed=2)
    folder = cached_folder(tmp_path / "model", seed=1, sha256=sha256_of(replacement))
    key.sign(folder)

    def check_then_replace(checked: Path) -> SignedFiles:
        found = verify(checked, [key.public])
        shutil.copyfile(replacement / "model.onnx", checked / "model.onnx")
        return found

    with pytest.raises(ModelRefused) as error:
        admit(folder, threads=1, max_batch=2, signed=check_then_replace)
    assert error.value.step == "signature"


@pytest.mark.parametrize("whole", [True, False], ids=["folder", "file"])
def test_a_path_is_held_to_the_same_rule(tmp_path: Path, key: KeyPair, whole: bool) -> None:
    folder = model_folder(tmp_path / "model")
    key.sign(folder)
    location = parse_location(str(folder if whole else folder / "model.onnx"))
    assert isinstance(location, OnDisk)
    state = tmp_path / "state"
    state.mkdir()
    poller = Poller(DiskSource(location), state, signed=signature_check([key.public]))
    poller.check()
    target = read_target(state)
    assert target is not None
    # A file comes without its folder's signature.
    assert (target.key is not None) == whole
    assert (target.refused is None) == whole
    (folder / "card.md").write_text("added")
    poller.check()
    target = read_target(state)
    assert target is not None
    assert target.refused is not None
    assert target.refused.step == "signature"


def test_looking_up_once_asks_for_the_signature(
    registry: FilledRegistry, tmp_path: Path, key: KeyPair, other: KeyPair
) -> None:
    version = add(registry, 1, key)
    uri = absolute_uri(registry.uri)
    with resolve_model(WHERE, cache=tmp_path / "cache", tracking_uri=uri, trusted_keys=[key.public]) as found:
        assert found.folder.name.startswith(f"{version}-")
    # Also where the registry is away and only the cache could answer.
    for address in (uri, f"sqlite:///{tmp_path}/nothing.db"):
        with (
            pytest.raises(RegistryUnavailable),
            resolve_model(WHERE, cache=tmp_path / "cache", tracking_uri=address, trusted_keys=[other.public]),
        ):
            pass


def test_what_openssl_writes_is_trusted(tmp_path: Path) -> None:
    private, public = tmp_path / "k.pem", tmp_path / "k.pub"
    commands: list[list[str | Path]] = [
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", private],
        ["openssl", "pkey", "-in", private, "-pubout", "-out", public],
    ]
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)
    folder = model_folder(tmp_path / "model")
    KeyPair(private, public).sign(folder)
    found = verify(folder, [public])
    assert found.signed_by == subprocess.check_output(["sha256sum", public], text=True).split()[0]


def test_the_command_of_model_signing_accepts_and_makes_such_signatures(tmp_path: Path, key: KeyPair) -> None:
    """Another program's reading of the same format."""
    folder = model_folder(tmp_path / "model")
    key.sign(folder)
    program = [sys.executable, "-m", "model_signing"]
    options = ["--signature", str(folder / SIGNATURE)]
    subprocess.run(
        [*program, "verify", "key", *options, "--public_key", str(key.public), str(folder)],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / SIGNATURE).unlink()
    subprocess.run(
        [*program, "sign", "key", *options, "--private_key", str(key.private), str(folder)],
        check=True, capture_output=True,
    )  # fmt: skip
    assert verify(folder, [key.public]).sha256


def test_files_that_a_signer_left_out_are_refused(tmp_path: Path, key: KeyPair) -> None:
    """The format lets a signer ignore files; here each file that is loaded has to be signed."""
    folder = model_folder(tmp_path / "model")
    subprocess.run(
        [
            *(sys.executable, "-m", "model_signing", "sign", "key", "--signature", str(folder / SIGNATURE)),
            *("--private_key", str(key.private), "--ignore-paths", str(folder / "selftest.npz"), str(folder)),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(SignatureInvalid) as error:
        verify(folder, [key.public])
    assert "selftest.npz" in error.value.reason


def bad_keys(folder: Path) -> list[Path]:
    key, curve = make_key(folder, "good"), make_key(folder, "koblitz", curve=ec.SECP256K1())
    rsa_key, text = folder / "rsa.pub", folder / "text.pub"
    rsa_key.write_bytes(
        rsa.generate_private_key(65537, 2048)
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    text.write_text("key")
    return [key.private, curve.public, rsa_key, text, folder / "absent"]


def test_a_key_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    good = make_key(tmp_path, "first")
    check_keys([good.public])
    for path in bad_keys(tmp_path):
        with pytest.raises(StartRefused) as error:
            check_keys([good.public, path])
        assert str(error.value).startswith(f"MIEN_TRUSTED_KEYS: {path}: ")
        assert "PRIVATE" not in str(error.value)
