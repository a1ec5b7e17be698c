"""The Locust scenario against a running service, for a few seconds, so that it stays true."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.support.http_service import ready, serving, settings_in
from tests.support.onnx_models import make_contract
from tests.support.serving_models import model_folder

REPOSITORY = Path(__file__).parents[3]
SECONDS = 4


def test_every_client_of_the_scenario_gets_the_answers_it_expects(tmp_path: Path) -> None:
    model_folder(tmp_path / "model", contract=make_contract(side=48))
    with serving(settings_in(tmp_path, timeout_s=60.0)) as client:
        ready(client)
        command = [
            sys.executable, "-m", "locust", "-f", "tests/load/locustfile.py", "--host", str(client.base_url),
            "--headless", "-u", "6", "-r", "6", "-t", f"{SECONDS}s", "--stop-timeout", "60",
            "--json", "--skip-log",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stdout + done.stderr
        counts = {row["name"]: row["num_requests"] for row in json.loads(done.stdout)}
        assert sum(counts.values()) >= 10
        # The most frequent task of each picture's kind came up even on a slow machine.
        assert counts["/detect small"] > 0
        metrics = client.get("/metrics").text
        pattern = r'^mien_requests_total\{.*route="/[def].*status="(\d+)"'
        statuses = set(re.findall(pattern, metrics, re.MULTILINE))
        assert {"200"} <= statuses <= {"200", "413", "415", "422"}
