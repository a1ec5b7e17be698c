"""Signatures of models: which trusted key signed the files in a folder, by sigstore's model-signing.

    python -m serving.signatures FOLDER --key release.pub --key next.pub
    {"signed_by": "95b0b65d…", "sha256": "09ecb6eb…"}

The signature, `model.sig`, is a sigstore bundle with the SHA-256 of every file, made with an elliptic-curve
key; nothing is asked over a network. A folder is as signed if the signature is by a trusted key, every signed
file is there and unchanged, and no other file is there.

The library (1 s and 59 MiB to load) belongs to the extra `signing`; it is loaded in a child process that
ends after the check.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from serving.errors import SignatureInvalid
from serving.errors.operation import StartRefused
from serving.processes import Child

SIGNATURE = "model.sig"
"""File with the signature, beside the files that it signs."""
UNSIGNED = (SIGNATURE, "registered_model_meta", "lineage.json")
"""Files that a signature leaves out: itself, and what MLflow and the service write into a downloaded folder.
The service writes its own `lineage.json` over any other, and reads no `registered_model_meta`."""
SIGNED_BY = "signed_by"
"""Tag of a registered version: fingerprint of the key that signed its files."""
SETTING = "MIEN_TRUSTED_KEYS"

_MODEL_FILE = "model.onnx"
_FINGERPRINT = re.compile("[0-9a-f]{64}")
# Each signed file takes less than 200 bytes of the signature.
_MOST_BYTES = 1 << 20
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
"""Those that model-signing supports (model_signing/_signing/sign_ec_key.py)."""
_INVALID = 1
# Files are hashed twice, at 0.2–0.4 GB/s; reading a large model over a slow network takes minutes.
_LIMIT_S = 300.0
_SHOWN_FILES = 3


@dataclass(frozen=True, kw_only=True)
class SignedFiles:
    """A folder whose files are as a trusted key signed them."""

    signed_by: str
    """Fingerprint of the key."""
    sha256: str
    """SHA-256 of the ONNX file, as signed."""


SignatureCheck = Callable[[Path], SignedFiles]
"""Checks the files of a folder; raises `SignatureInvalid`, or `OSError` if it could not be carried out."""


def signature_check(keys: Sequence[Path]) -> SignatureCheck | None:
    """Return the check that models need with these trusted keys; None without any: all are accepted."""
    return partial(verify_in_child, keys=[key.absolute() for key in keys]) if keys else None


def verify_in_child(folder: Path, *, keys: Sequence[Path]) -> SignedFiles:
    """Check the files of a folder in a child process; as `verify`.

    Raises:
        SignatureInvalid: they are not as one of the keys signed them.
        OSError: the process did not end in time, or not by itself.
    """
    answer = _ask(keys, folder)
    if (problem := answer.get("problem")) is not None:
        raise SignatureInvalid(reason=problem)
    return SignedFiles(**answer)


def check_keys(keys: Sequence[Path]) -> None:
    """Check that signatures can be checked with these keys.

    Raises:
        StartRefused: a key cannot be used, or packages of the extra `signing` are missing.
    """
    try:
        problem = _ask(keys).get("problem")
    except OSError as error:
        problem = str(error)
    if problem is not None:
        raise StartRefused(f"{SETTING}: {problem}")


def verify(folder: Path, keys: Sequence[Path]) -> SignedFiles:
    """Check that a folder has exactly the files that one of the keys signed.

    Args:
        folder: with `model.onnx`, its other files and `model.sig`.
        keys: PEM files of public keys; one that cannot be read is not trusted.

    Raises:
        SignatureInvalid: the signature is missing, damaged or by another key, or a file is not as signed.
    """
    try:
        data = (folder / SIGNATURE).read_bytes()
    except OSError as error:
        raise SignatureInvalid(
            reason=f"{SIGNATURE} is missing, expected the signature of a folder's files"
        ) from error
    signed_by, signed = _read(data)
    key = _trusted(keys).get(signed_by)
    if key is None:
        raise SignatureInvalid(
            reason=f"it is signed with the key {signed_by[:16]}…, which is not one of {SETTING}"
        )
    _compare(folder, signed)
    _verify_signature(folder, data, key)
    return SignedFiles(signed_by=signed_by, sha256=signed[_MODEL_FILE])


def fingerprint(pem: bytes) -> str:
    """SHA-256 of a public key's PEM text in its usual form, which `sha256sum` prints for a file of OpenSSL's.

    Raises:
        ValueError: it is not a public key, or one of another kind than those that can sign models.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except Exception as error:  # cryptography's own, and ValueError
        raise ValueError("this is not a public key in PEM format") from error
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise ValueError("the key is of another kind")
    return hashlib.sha256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _trusted(keys: Sequence[Path]) -> dict[str, Path]:
    """Keys by their fingerprints, without those that cannot be read: a trusted key may be deleted."""
    found = {}
    for key in keys:
        try:
            found[fingerprint(key.read_bytes())] = key
        except (OSError, ValueError):
            continue
    return found


def _read(data: bytes) -> tuple[str, dict[str, str]]:
    """Fingerprint of the key that a signature names, and the signed SHA-256 of each file; unverified."""
    try:
        bundle = json.loads(data)
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True))
        resources = statement["predicate"]["resources"]
        signed = {str(one["name"]): str(one["digest"]) for one in resources}
        signed_by = bundle["verificationMaterial"]["publicKey"]["hint"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise SignatureInvalid(reason=f"{SIGNATURE} is damaged or made in another way") from error
    if not _FINGERPRINT.fullmatch(str(signed_by)) or _MODEL_FILE not in signed:
        raise SignatureInvalid(reason=f"{SIGNATURE} does not name its key, or does not sign {_MODEL_FILE}")
    return signed_by, signed


def signer_of(signature: Path) -> str:
    """Fingerprint of the key that a signature names, which is not verified.

    Raises:
        SignatureInvalid: the file is missing, damaged or too large.
    """
    try:
        if signature.stat().st_size > _MOST_BYTES:
            raise SignatureInvalid(reason=f"{SIGNATURE} has more than {_MOST_BYTES:,} bytes")
        return _read(signature.read_bytes())[0]
    except OSError as error:
        raise SignatureInvalid(reason=f"{SIGNATURE} is missing") from error


def _compare(folder: Path, signed: Mapping[str, str]) -> None:
    """Check that the folder has the signed files and no others, which the library leaves to the signer."""
    found = {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and (name := path.relative_to(folder).as_posix()) not in UNSIGNED
    }
    wrong = [name for name in sorted({*found, *signed}) if found.get(name) != signed.get(name)]
    if wrong:
        shown = ", ".join(wrong[:_SHOWN_FILES]) + (", …" if len(wrong) > _SHOWN_FILES else "")
        raise SignatureInvalid(reason=f"not as they were signed: {shown}")


def _verify_signature(folder: Path, data: bytes, key: Path) -> None:
    """Verify the signature, and once more the files, with the library; `data` is the text of `model.sig`."""
    from model_signing import hashing, verifying

    files = hashing.Config().set_ignored_paths(paths=UNSIGNED, ignore_git_paths=False)
    verifier = verifying.Config().use_elliptic_key_verifier(public_key=key).set_hashing_config(files)
    with tempfile.TemporaryDirectory(prefix="mien-signature-") as scratch:
        copy = Path(scratch) / SIGNATURE
        copy.write_bytes(data)
        try:
            verifier.verify(folder, copy)
        except Exception as error:  # the library's errors share no other base
            raise SignatureInvalid(reason=f"{SIGNATURE} is not by the key that it names") from error


def _ask(keys: Sequence[Path], *folder: Path) -> dict[str, str]:
    """Run this module's `main` in a child process; returns what it prints.

    Raises:
        OSError: it did not end in time, or not by itself.
    """
    arguments = [*map(str, folder), *(f"--key={key}" for key in keys)]
    child = Child(__name__, arguments, stdout=subprocess.PIPE)
    try:
        printed, _ = child.process.communicate(timeout=_LIMIT_S)
        answer = json.loads(printed)
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"the signature was not checked within {_LIMIT_S:g} s") from error
    except ValueError as error:
        status = child.process.returncode
        raise OSError(f"the process that checks signatures ended with status {status}") from error
    finally:
        child.end()
    return {str(name): str(value) for name, value in answer.items()}


def _answer(folder: Path | None, keys: Sequence[Path]) -> dict[str, str]:
    try:
        import_module("model_signing.verifying")
    except ImportError as error:
        return {
            "problem": f"the package {error.name} of the extra `signing` is missing; install "
            "requirements/signing.txt, or build the image with SIGNING=1 (docs/signing.md)"
        }
    if folder is not None:
        try:
            return asdict(verify(folder, keys))
        except SignatureInvalid as error:
            return {"problem": error.reason}
    for key in keys:
        try:
            fingerprint(key.read_bytes())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            return {
                "problem": f"{key}: {reason}; expected the PEM file of a public key on the curve P-256, "
                "P-384 or P-521, as `openssl pkey -in KEY -pubout` writes it"
            }
    return {}


def main() -> None:
    """Check a folder, or only the keys; print the result as JSON. Exit status 1: not as signed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", nargs="?", type=Path, help="with model.onnx and model.sig")
    parser.add_argument("--key", action="append", default=[], type=Path, help="PEM file of a public key")
    arguments = parser.parse_args()
    # Nothing but the result: the library may print warnings.
    with redirect_stdout(sys.stderr):
        answer = _answer(arguments.folder, arguments.key)
    print(json.dumps(answer))
    raise SystemExit(_INVALID if "problem" in answer else 0)


if __name__ == "__main__":
    main()
