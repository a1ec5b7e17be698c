"""The running service against its own OpenAPI document: requests that fit it and requests that do not.

About 30 seconds. To look closer at one endpoint: the printed command with `--include-path /detect`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.http_service import picture_of, ready, serving, settings_in
from tests.support.serving_models import model_folder

SEED, EXAMPLES = 20261123, 30
# Everything else that schemathesis checks holds everywhere: no 5xx, documented statuses, content types,
# headers and bodies, `Allow`, undocumented methods, no answer for what was deleted.
CONFIG = """
# Its own list, and 413: too many of something that is wrong besides.
[checks]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 429]

[parameters]
"path.name" = "model"
"path.version" = "local"

# A WebSocket, which OpenAPI cannot describe: every plain request is refused.
[[operations]]
include-name = "GET /stream"
checks.positive_data_acceptance.enabled = false

# What they take depends on the live model (its tensors, its emotions), or on bytes being a picture.
[[operations]]
include-name = [
  "POST /detect", "POST /explain", "POST /feedback", "POST /invocations",
  "POST /v2/models/{name}/infer", "POST /v2/models/{name}/versions/{version}/infer",
]
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404, 413, 415, 422]

# One file in a form is a list of one file; a form cannot send anything but a list.
[[operations]]
include-name = "POST /detect/batch"
checks.negative_data_rejection.enabled = false
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    model_folder(tmp_path / "model")
    # On a busy machine an answer may be late; here a 503 would count as the service's fault.
    settings = settings_in(
        tmp_path, max_bytes=200_000, max_pixels=250_000, max_tensor_images=4, timeout_s=120
    )
    with serving(settings) as client:
        yield ready(client)


def test_the_service_keeps_what_its_document_promises(
    client: httpx.Client, tmp_path: Path, repository: Path
) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
        *("run", f"{client.base_url}/openapi.json", "--warnings", "off", "--no-color"),
        *("--seed", str(SEED), "--max-examples", str(EXAMPLES), "--continue-on-failure"),
    ]
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.support.openapi_fuzzing",
        "PYTHONPATH": str(repository),
    }
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    output = f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, output
    operations = sum(len(methods) for methods in client.get("/openapi.json").json()["paths"].values())
    assert f"Tested: {operations}\n" in done.stdout, output
    assert client.post("/detect", content=picture_of(3)).status_code == 200
