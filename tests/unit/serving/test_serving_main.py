"""`serving.main:app` is made when it is asked for, and not before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serving import main


def test_importing_it_does_nothing(repository: Path) -> None:
    program = (
        "import sys, serving.main, serving.settings; "
        "print(sorted({'fastapi', 'onnxruntime', 'cv2', 'sqlalchemy', 'uvicorn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_it_has_nothing_but_the_application() -> None:
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        main.other  # noqa: B018 # asking is the point
