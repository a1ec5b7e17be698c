"""The exit status of a stage: 75 for what may pass by itself, 1 for everything else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
IMPORTS = """
import sqlite3, threading, urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pipelines.core.cli import run_stage
from pipelines.core.errors import ParamsError, RegistryError

def locked():
    first = sqlite3.connect("x.db", isolation_level=None)
    first.execute("BEGIN EXCLUSIVE")
    sqlite3.connect("x.db", timeout=0).execute("CREATE TABLE numbers (number)")

def refused():
    urllib.request.urlopen("http://127.0.0.1:9")

def busy():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(503)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}")

def translated(cause):
    try:
        cause()
    except Exception as error:
        raise RegistryError(uri="x", reason="odd", remedy="look") from error

def fail(error):
    raise error

"""
# body of the stage, its exit status, whether there is a traceback
CASES = {
    "success": ("None", 0, False),
    "locked": ("locked()", 75, True),
    "refused": ("refused()", 75, True),
    "busy": ("busy()", 75, True),
    "locked, translated": ("translated(locked)", 75, False),
    "refused, translated": ("translated(refused)", 75, False),
    "words": (
        "fail(RegistryError(uri='x', reason='database is locked, timed out', remedy='wait'))",
        1,
        False,
    ),
    "parameters": ("fail(ParamsError(key='seed', got='x', expected='a number'))", 1, False),
    "bug": ("fail(ValueError('Connection refused'))", 1, True),
}


@pytest.mark.parametrize(("body", "status", "traceback"), CASES.values(), ids=CASES)
def test_types_and_codes_decide(tmp_path: Path, body: str, status: int, traceback: bool) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", f"{IMPORTS}run_stage(lambda: {body})"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, "Traceback" in ended.stderr) == (status, traceback), ended.stderr
