"""An environment for each peer, made from its requirements.txt by uv and kept outside the repository."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
ALONE = "without-dependencies.txt"
"""Beside a peer's requirements.txt: what is installed without its own requirements."""
_DONE = ".complete"


def default_cache() -> Path:
    """Where environments are kept: `mien-benchmarks` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mien-benchmarks"


def environment_path(peer: str, cache: Path) -> Path:
    """Folder of a peer's environment; another one when its requirements or the interpreter change."""
    alone = HERE / peer / ALONE
    content = (HERE / peer / "requirements.txt").read_bytes() + sys.version.encode()
    content += alone.read_bytes() if alone.exists() else b""
    return cache / f"{peer}-{hashlib.sha256(content).hexdigest()[:12]}"


def environment(peer: str, cache: Path) -> Path:
    """The folder with its programs, made when it is not there yet (a minute each, once).

    Raises:
        RuntimeError: uv failed; its own words are in the message.
    """
    folder = environment_path(peer, cache)
    if not (folder / _DONE).exists():
        # Not renamed into place afterwards: scripts of an environment hold its path.
        shutil.rmtree(folder, ignore_errors=True)
        print(f"making {folder}", file=sys.stderr, flush=True)
        _uv("venv", "--python", sys.executable, str(folder))
        requirements = str(HERE / peer / "requirements.txt")
        # Compiled now: otherwise every start of a server pays for it where PYTHONDONTWRITEBYTECODE is set.
        _uv(
            "pip", "install", "--compile-bytecode", "--python", str(folder / "bin/python"), "-r", requirements
        )
        # What asks for packages that it does not need here, such as PyTorch; requirements.txt has the others.
        alone = HERE / peer / ALONE
        if alone.exists():
            python = str(folder / "bin/python")
            _uv("pip", "install", "--compile-bytecode", "--no-deps", "--python", python, "-r", str(alone))
        (folder / _DONE).touch()
    return folder / "bin"


def available(peers: Sequence[str], cache: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Programs of each peer whose environment can be made, and the reason for each whose cannot."""
    programs: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for name in peers:
        try:
            programs[name] = environment(name, cache)
        except RuntimeError as error:
            missing[name] = str(error).splitlines()[0]
    return programs, missing


def _uv(*arguments: str) -> None:
    done = subprocess.run(["uv", "--quiet", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"uv {arguments[0]} failed: {done.stderr.strip()}")
