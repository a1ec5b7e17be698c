"""The Python client as its users get it: a wheel, built without a package index."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "clients/python"


def build_wheel(folder: Path) -> Path:
    """Build the wheel into a folder; a file that `PYTHONPATH` may name."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert uv, "uv is missing; `make setup` installs it into .venv"
    command = [uv, "build", "--offline", "--no-config", "--wheel", "--out-dir", str(folder), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [wheel] = folder.glob("*.whl")
    return wheel
