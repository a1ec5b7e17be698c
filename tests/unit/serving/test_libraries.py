"""OpenCV's own limit is in force wherever pictures of others are read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.http_process import environment
from tests.support.serving_models import model_folder

_DECODES = """
import cv2, numpy
_, data = cv2.imencode(".png", numpy.zeros(({height}, {width}), numpy.uint8))
try:
    cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    print("decoded")
except cv2.error:
    print("refused")
"""


def _outcome(program: str, folder: Path, **given: str) -> str:
    model_folder(folder / "model")
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(folder, PYTHONPATH=str(Path.cwd()), **given),
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


@pytest.mark.parametrize(("width", "outcome"), [(100, "decoded"), (101, "refused")])
def test_the_service_sets_its_own(tmp_path: Path, width: int, outcome: str) -> None:
    program = "import serving.main; serving.main.app\n" + _DECODES.format(height=40, width=width)
    assert _outcome(program, tmp_path, MIEN_MAX_PIXELS="4000") == outcome


@pytest.mark.parametrize(("width", "outcome"), [(100, "decoded"), (101, "refused")])
def test_scoring_sets_the_services(tmp_path: Path, width: int, outcome: str) -> None:
    program = (
        "import sys, serving.score.__main__\n"
        "sys.argv = ['score', '--help']\n"
        "try:\n    serving.score.__main__.main()\nexcept SystemExit:\n    pass\n"
    ) + _DECODES.format(height=40, width=width)
    assert _outcome(program, tmp_path, MIEN_MAX_PIXELS="4000") == outcome


@pytest.mark.parametrize(("width", "outcome"), [(9_942, "decoded"), (9_943, "refused")])
def test_prepare_sets_the_one_of_originals(tmp_path: Path, width: int, outcome: str) -> None:
    program = (
        "import runpy\n"
        "try:\n    runpy.run_module('pipelines.prepare', run_name='__main__')\nexcept SystemExit:\n    pass\n"
    ) + _DECODES.format(height=9_000, width=width)
    # 89,478,000 and 89,487,000 pixels, around 89,478,485.
    assert _outcome(program, tmp_path) == outcome
