"""Programs that come as Debian packages; `.ci/run` installs what is missing."""

from __future__ import annotations

import shutil


def program(name: str, *, package: str) -> str:
    """Its path; fails with the package to install, and never skips."""
    found = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    assert found, f"{name} is missing; apt-get install {package} (.ci/run does)"
    return found
