"""Whether the files that the stage `weights` downloads are still where they were published:

    python -m tests.network.published_files

Needs the internet, so no test calls the real addresses; .github/workflows/published.yml does every week.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from pipelines.architectures import load_architecture
from pipelines.core.params import known_architectures, load_params
from pipelines.weights.face_model import FaceModelUnavailable, addresses, download_face_model
from pipelines.weights.local import problem_with
from pipelines.weights.pretrained import published_url
from pipelines.weights.remote import DownloadFailed, download

TIMEOUT_S = 60.0


def face_model_problem(url: str) -> str | None:
    """What is wrong with the face detector's file at an address; None: it is the official one."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, XDG_CACHE_HOME=folder):
        try:
            download_face_model([url], timeout_s=TIMEOUT_S)
        except FaceModelUnavailable as error:
            return str(error)
    return None


def weights_problem(url: str, *, md5: str | None) -> str | None:
    """What is wrong with a weights file at an address; None: it is whole and has the digest."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / url.rsplit("/", 1)[-1]
        try:
            download(url, path, timeout_s=TIMEOUT_S)
        except DownloadFailed as error:
            return str(error)
        return problem_with(path, md5=md5)


def found() -> Iterator[tuple[str, str | None]]:
    """Every address and what is wrong there: both of YuNet's, and that of each file that Keras publishes."""
    for url in addresses():
        yield url, face_model_problem(url)
    params = load_params()
    for name in known_architectures():
        pretrained = load_architecture(name).pretrained_weights(params.model(name).options)
        if pretrained is not None and pretrained.file is not None:
            url = published_url(pretrained)
            yield url, weights_problem(url, md5=pretrained.md5)


def main() -> int:
    """Print a line per address; 1 if a file is missing or another one."""
    problems = 0
    for url, problem in found():
        print(f"failed  {problem}" if problem else f"ok      {url}", flush=True)
        problems += problem is not None
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
