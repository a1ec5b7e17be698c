"""Real keys, and folders that are signed with them as `register` signs them."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from pipelines.register.sign import Signer
from serving.signatures import SIGNATURE


@dataclass(frozen=True)
class KeyPair:
    """A private key and its public key, as files."""

    private: Path
    public: Path
    password: str | None = None

    def sign(self, folder: Path) -> str:
        """Sign a folder; returns the fingerprint of the key."""
        signer = Signer(self.private, password=self.password)
        signer.sign(folder)
        return signer.fingerprint


def make_key(
    folder: Path, name: str, *, curve: ec.EllipticCurve | None = None, password: str | None = None
) -> KeyPair:
    """Write a new key pair, as OpenSSL would."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    hidden: KeySerializationEncryption = NoEncryption()
    if password is not None:
        hidden = BestAvailableEncryption(password.encode())
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return KeyPair(private, public, password)


def flip_byte(file: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def statement(folder: Path) -> dict[str, Any]:
    """What a folder's signature says, read without the library."""
    bundle = json.loads((folder / SIGNATURE).read_bytes())
    read: dict[str, Any] = json.loads(b64decode(bundle["dsseEnvelope"]["payload"]))
    return read
