"""Downloads pretrained weights: a quick check for a network connection, then a verified download."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import getproxies, urlopen

from pipelines.weights.local import CHECKPOINT_FILES, OPTIONAL_FILES

# Where the installed Keras publishes its files; `published_url` asks it for the address proper.
KERAS_HOST = "https://storage.googleapis.com"
_CHUNK_BYTES = 1 << 20
_NOT_FOUND = 404


class DownloadFailed(Exception):
    """A file could not be fetched; the message says why in one line."""


def hub_address() -> str:
    """Base address of the Hugging Face hub, or of the mirror that HF_ENDPOINT names."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def reachable(addresses: Iterable[str], *, timeout_s: float) -> set[str]:
    """Return the addresses that accept a connection, all tried at once.

    Each request has its own thread because a name look-up can block for longer than any timeout.
    """
    answered: set[str] = set()

    def ask(address: str) -> None:
        try:
            socket.create_connection(_endpoint(address), timeout=timeout_s).close()
        except OSError:
            return
        answered.add(address)

    threads = [threading.Thread(target=ask, args=(address,), daemon=True) for address in set(addresses)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout_s)
    return set(answered)


def download(url: str, path: Path, *, timeout_s: float) -> None:
    """Fetch one file.

    Args:
        url: http(s) address.
        path: where to write it; only a whole file is left there.
        timeout_s: for the connection and for every pause within the answer.

    Raises:
        DownloadFailed: no answer, an error status, or fewer bytes than announced.
    """
    try:
        with urlopen(url, timeout=timeout_s) as answer, path.open("wb") as file:  # noqa: S310 - https, from Keras or the hub
            announced = answer.headers.get("Content-Length")
            written = 0
            while chunk := answer.read(_CHUNK_BYTES):
                written += file.write(chunk)
    except (OSError, HTTPException) as error:
        path.unlink(missing_ok=True)
        if isinstance(error, HTTPError):
            error.close()
        raise DownloadFailed(f"{url}: {error}") from error
    if announced is not None and written != int(announced):
        path.unlink()
        raise DownloadFailed(f"{url}: {written} of {announced} bytes came")


def download_checkpoint(repository: str, folder: Path, *, timeout_s: float) -> None:
    """Fetch a Hugging Face checkpoint's configuration and tensors into an empty folder.

    Raises:
        DownloadFailed: one of the files that must be there could not be fetched.
    """
    base = f"{hub_address()}/{repository}/resolve/main"
    for name in CHECKPOINT_FILES:
        download(f"{base}/{name}", folder / name, timeout_s=timeout_s)
    for name in OPTIONAL_FILES:
        try:
            download(f"{base}/{name}", folder / name, timeout_s=timeout_s)
        except DownloadFailed as error:
            cause = error.__cause__
            if not (isinstance(cause, HTTPError) and cause.code == _NOT_FOUND):
                raise


def _endpoint(address: str) -> tuple[str, int]:
    """Host and port to connect to: the proxy's where one is set."""
    parts = urlsplit(address)
    proxy = getproxies().get(parts.scheme)
    if proxy:
        parts = urlsplit(proxy)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
