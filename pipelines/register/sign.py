"""Sign the files of registered versions with a private key; needs the extra `signing`.

    MIEN_SIGNING_KEY=next.pem python -m pipelines.register.sign 3 --trusted release.pub

`register` signs what it registers whenever MIEN_SIGNING_KEY is set. This command signs a version that is
registered already: one from before there was a key, or one that the next key has to vouch for
(docs/signing.md).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from pipelines.core.cli import run_stage
from pipelines.core.errors import RegistryError, SigningError
from pipelines.core.params import load_params
from pipelines.tracking import runs as tracking
from pipelines.tracking.registry import Registry, Version
from serving.errors import SignatureInvalid
from serving.signatures import SIGNATURE, SIGNED_BY, UNSIGNED, fingerprint, signer_of, verify

KEY, PASSWORD = "MIEN_SIGNING_KEY", "MIEN_SIGNING_KEY_PASSWORD"
"""Variables: file of the private key, and its password if it is encrypted."""


class Signer:
    """A private key that signs folders; neither the key nor its password is logged or stored."""

    def __init__(self, path: Path, *, password: str | None = None) -> None:
        """Read the key.

        Args:
            path: PEM file of a private key on the curve P-256, P-384 or P-521.
            password: of an encrypted key.

        Raises:
            SigningError: the key cannot be used, or packages of the extra `signing` are missing.
        """
        try:
            import_module("model_signing")
            from cryptography.hazmat.primitives.serialization import (
                Encoding,
                PublicFormat,
                load_pem_private_key,
            )
        except ImportError as error:
            raise SigningError(
                reason=f"{KEY} is set, and the package {error.name} of the extra `signing` is missing",
                remedy="install requirements/signing.txt, or unset it to register without a signature",
            ) from error
        self._path = path
        # The library hands it to cryptography unchanged, which takes bytes.
        self._password = password.encode() if password else None
        try:
            public = load_pem_private_key(path.read_bytes(), self._password).public_key()
            self._public = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            self.fingerprint = fingerprint(self._public)
            """Of the public key, as `serving.signatures.fingerprint`."""
        except Exception as error:  # cryptography's errors share no other base
            reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
            raise SigningError(
                reason=f"{KEY}={path}: {reason}",
                remedy="name the PEM file of a private key on the curve P-256, P-384 or P-521, and give the "
                f"password of an encrypted one in {PASSWORD}",
            ) from error

    def sign(self, folder: Path) -> None:
        """Sign all files of a folder: write `model.sig` beside them."""
        from model_signing import hashing, signing

        files = hashing.Config().set_ignored_paths(paths=UNSIGNED, ignore_git_paths=False)
        password: str | None = self._password  # type: ignore[assignment] # model-signing 1.1 takes bytes only
        config = signing.Config().use_elliptic_key_signer(private_key=self._path, password=password)
        config.set_hashing_config(files).sign(folder, folder / SIGNATURE)

    def check(self, folder: Path, *others: Path) -> None:
        """Check that a folder is as this key, or another of these public keys, signed it.

        Raises:
            SignatureInvalid: it is not.
        """
        with tempfile.TemporaryDirectory(prefix="mien-key-") as scratch:
            own = Path(scratch) / "own.pub"
            own.write_bytes(self._public)
            verify(folder, [own, *others])


def configured_signer() -> Signer | None:
    """Read the private key that the environment names; None if it names none.

    Raises:
        SigningError: the key cannot be used.
    """
    path = os.environ.get(KEY, "").strip()
    return Signer(Path(path), password=os.environ.get(PASSWORD)) if path else None


def sign_version(registry: Registry, number: int, signer: Signer, *, trusted: Sequence[Path] = ()) -> str:
    """Sign the stored files of a registered version; return a message in one line.

    Args:
        registry: of the model.
        number: of the version.
        signer: key to sign with.
        trusted: public keys, one of which must have signed the files if they are signed.

    Raises:
        RegistryError: the version does not exist, or its file is not the one registered.
        SigningError: the files are signed, and not as one of these keys signed them.
    """
    version = registry.get(number)
    name = f"{registry.name} version {number}"
    model_id = files_of(registry, version)
    with registry.downloaded(version) as folder:
        if (folder / SIGNATURE).exists():
            _check_signed(folder, name, signer, trusted)
            if signer_of(folder / SIGNATURE) == signer.fingerprint == version.tags.get(SIGNED_BY):
                return f"{name} is already signed with the key {signer.fingerprint[:16]}…"
        signer.sign(folder)
        _store(registry, model_id, folder / SIGNATURE)
    registry.annotate(version, tags={SIGNED_BY: signer.fingerprint}, description=version.description)
    with registry.downloaded(version) as folder:
        check_stored(folder, signer, uri=registry.uri)
    return f"{name} is signed with the key {signer.fingerprint[:16]}…"


def files_of(registry: Registry, version: Version) -> str:
    """Return MLflow's id of the logged model that holds a version's files.

    Raises:
        SigningError: it has none, so a signature cannot be added to its files.
    """
    if version.model_id is None:
        raise SigningError(
            reason=f"{registry.name} version {version.number} has no folder of its own in MLflow",
            remedy="only versions that this pipeline registered can be signed",
        )
    return version.model_id


def check_stored(folder: Path, signer: Signer, *, uri: str) -> None:
    """Check a copy of what the registry stores of a version that was signed just now.

    Raises:
        RegistryError: it differs from what was signed.
    """
    try:
        signer.check(folder)
    except SignatureInvalid as error:
        raise RegistryError(
            uri=uri,
            reason=f"the stored files differ from the signed ones: {error.reason}",
            remedy="check the artifact store, then run this again",
        ) from error


def _check_signed(folder: Path, name: str, signer: Signer, trusted: Sequence[Path]) -> None:
    """A new signature must not vouch for files that were changed since the old one."""
    try:
        signer.check(folder, *trusted)
    except SignatureInvalid as error:
        raise SigningError(
            reason=f"{name} is signed already, and {error.reason}".replace(
                "MIEN_TRUSTED_KEYS", "those of --trusted"
            ),
            remedy="name the public key of its signer with --trusted; register the model again if its files "
            "were changed",
        ) from error


def _store(registry: Registry, model_id: str, signature: Path) -> None:
    from mlflow import MlflowClient

    tracking.retrying(registry.uri, lambda: MlflowClient().log_model_artifact(model_id, str(signature)))


def main() -> None:
    """Sign the version named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("version", type=int, help="number of the registered version")
    parser.add_argument(
        "--trusted", action="append", default=[], type=Path, metavar="KEY",
        help="public key that its present signature may be by; may be given again",
    )  # fmt: skip
    arguments = parser.parse_args()
    signer = configured_signer()
    if signer is None:
        raise SigningError(reason=f"{KEY} is not set", remedy="name the file of the private key")
    registry = Registry(load_params().register_.model, uri=tracking.connect())
    print(sign_version(registry, arguments.version, signer, trusted=arguments.trusted))


if __name__ == "__main__":
    run_stage(main)
