"""Take the pictures of MLflow's and Prefect's pages that the guides show; 15 to 28 minutes on two cores.

    python -m docs.consoles                     # trains in a clone of this checkout, then takes them
    python -m docs.consoles --mlflow http://127.0.0.1:5000 --prefect http://127.0.0.1:4200   # of what runs

Writes docs/images/mlflow-*.png and prefect-*.png. What is trained is `VARIANTS`, one after the other, by the
flow `training`, on the shipped sample: registered versions, the first of them in production.
Needs Debian's package chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import BrowserContext, Page, sync_playwright

from benchmarks.ports import free_ports

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
WIDTH = 1280
VARIANTS: tuple[tuple[str, tuple[str, ...], dict[str, int]], ...] = (
    ("two networks", ("lenet", "vgg"), {}),
    ("longer", ("lenet",), {"lenet": 40}),
)
"""Why, which networks, and their epochs where they are not those of the profile."""
BESIDE = ("drift/drift", "retention/retention")
"""What runs afterwards, so that the list of runs has more than trainings."""
_START_S = 600
_TRAINING_S = 3600
_WAIT_MS = 60_000
# The pages for training instead of those for language models, and no panel that opens by itself.
_SETTLED = """
localStorage.setItem('mlflow.workflowType_v1', '"machine_learning"')
localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')
localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')
addEventListener('DOMContentLoaded', () => document.head.append(Object.assign(document.createElement('style'),
  {textContent: '[data-assistant-ui] {display: none !important}'})))
"""
_COLORS = 256


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Of what `make up` starts."""

    mlflow: str
    prefect: str
    service: str

    @classmethod
    def free(cls) -> Addresses:
        """Three that nothing listens on now."""
        mlflow, prefect, service = (f"http://127.0.0.1:{port}" for port in free_ports(3))
        return cls(mlflow=mlflow, prefect=prefect, service=service)

    def environment(self) -> dict[str, str]:
        """Variables by which `make up` takes these ports, and `prefect` finds the server."""
        port = {name: value.rpartition(":")[2] for name, value in vars(self).items()}
        return os.environ | {
            "MLFLOW_PORT": port["mlflow"],
            "PREFECT_PORT": port["prefect"],
            "MIEN_PORT": port["service"],
            "PREFECT_API_URL": f"{self.prefect}/api",
        }


def take_all(addresses: Addresses) -> None:
    """Take all of them."""
    executable = shutil.which("chromium")
    if executable is None:
        raise SystemExit("error: Chromium is missing; install Debian's package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )
        context = browser.new_context(viewport={"width": WIDTH, "height": 860})
        context.set_default_timeout(_WAIT_MS)
        context.add_init_script(_SETTLED)
        take_mlflow(context, addresses.mlflow)
        take_prefect(context, addresses.prefect)
        browser.close()


def take_mlflow(context: BrowserContext, address: str) -> None:
    """Versions, one version, the dialog for aliases, two runs side by side."""
    known = sorted(versions(address), key=number)
    newest = number(known[-1])
    page = opened(context, f"{address}/#/models/emotion", shows=f"text=Version {newest}", height=1440)
    taken(page, "mlflow-versions", height=1040)

    version = f"{address}/#/models/emotion/versions/{newest}"
    page = opened(context, version, shows="text=Gate: passed", height=980)
    taken(page, "mlflow-version", close=False)
    page.get_by_title("Edit aliases").click()
    field = page.get_by_role("dialog").get_by_role("combobox")
    field.fill("production")
    field.press("Enter")
    page.wait_for_timeout(500)
    taken(page, "mlflow-alias", height=560)

    query = f"runs={json.dumps([version['run_id'] for version in known[:2]])}&experiments=%5B%221%22%5D"
    page = opened(context, f"{address}/#/compare-runs?{query}", shows="text=Run details", height=2600)
    page.get_by_text("Visualizations", exact=True).click()
    page.get_by_text("Show diff only").first.click()
    page.wait_for_timeout(500)
    taken(page, "mlflow-compare", height=1000)


def take_prefect(context: BrowserContext, address: str) -> None:
    """All runs, one of them, its comparison."""
    page = opened(context, f"{address}/settings", shows="text=Theme")
    page.get_by_role("switch").first.click()
    page.wait_for_timeout(1000)
    page.close()

    page = opened(context, f"{address}/runs", shows="text=training:", height=1136)
    taken(page, "prefect-runs")

    run_id = trainings(address)[0]
    page = opened(context, f"{address}/runs/flow-run/{run_id}", shows="text=Task Runs", height=570)
    taken(page, "prefect-run")

    comparison = {"artifacts": {"key": {"any_": ["training-comparison"]}, "flow_run_id": {"any_": [run_id]}}}
    artifact = asked(f"{address}/api/artifacts/filter", comparison)[0]["id"]
    page = opened(context, f"{address}/artifacts/artifact/{artifact}", shows="text=accuracy", height=430)
    taken(page, "prefect-comparison")


def opened(context: BrowserContext, address: str, *, shows: str, height: int = 860) -> Page:
    """A page that has got what it shows."""
    page = context.new_page()
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.goto(address)
    page.wait_for_selector(shows)
    page.wait_for_timeout(2500)
    return page


def taken(page: Page, name: str, *, height: int | None = None, close: bool = True) -> None:
    """Take the picture, with few enough colours to be small."""
    if height is not None:
        page.set_viewport_size({"width": WIDTH, "height": height})
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    if close:
        page.close()


def versions(address: str) -> list[dict[str, Any]]:
    """Registered versions, from MLflow's API."""
    found = asked(f"{address}/api/2.0/mlflow/model-versions/search")
    return list(found["model_versions"])


def number(version: dict[str, Any]) -> int:
    """Of a registered version."""
    return int(version["version"])


def trainings(address: str) -> list[str]:
    """Ids of the finished training runs, the first one first: it had most to do."""
    done = {
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
        "flows": {"name": {"any_": ["training"]}},
    }
    runs = asked(f"{address}/api/flow_runs/filter", done)
    return [run["id"] for run in sorted(runs, key=lambda run: run["start_time"])]


def asked(address: str, body: dict[str, Any] | None = None) -> Any:
    """JSON of an address; with a body it is posted."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data=data, headers={"Content-Type": "application/json"})  # noqa: S310 # our own server
    with urllib.request.urlopen(request) as answer:  # noqa: S310 # our own server
        return json.load(answer)


@contextmanager
def stack(checkout: Path, addresses: Addresses) -> Iterator[None]:
    """`make up` in a checkout, for as long as the block runs."""
    command = [sys.executable, "-m", "flows.dev_stack"]
    with (checkout.parent / "stack.log").open("w") as log:
        process = subprocess.Popen(  # noqa: S603 # our own command
            command, cwd=checkout, env=addresses.environment(), stdout=log, stderr=log
        )
        try:
            wait_for(f"{addresses.prefect}/api/deployments/name/training/training", process)
            yield
        finally:
            process.terminate()
            process.wait()


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    """Until an address answers."""
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            asked(address)
        except OSError:
            time.sleep(2)
        else:
            return
    raise SystemExit(f"error: {address} does not answer; the stack's log says why")


def clone(folder: Path) -> Path:
    """This checkout's last commit with the shipped sample, in a new folder."""
    checkout = folder / "mien"
    run("git", "clone", "--quiet", str(ROOT), str(checkout), folder=folder)
    run(sys.executable, "-m", "dvc", "pull", "--quiet", "--remote", "sample", "data.dvc", folder=checkout)
    return checkout


def train(checkout: Path, addresses: Addresses) -> None:
    """Commit each of `VARIANTS` and let the worker train it."""
    import yaml

    path = checkout / "params.yaml"
    settings = yaml.safe_load(path.read_text())
    for reason, networks, epochs in VARIANTS:
        settings["architectures"] = list(networks)
        for name, count in epochs.items():
            settings["models"][name]["epochs"] = count
        path.write_text(yaml.safe_dump(settings, sort_keys=False))
        author = ("-c", "user.name=Guide", "-c", "user.email=guide@example.org")
        run("git", *author, "commit", "--quiet", "--message", reason, "params.yaml", folder=checkout)
        run(
            *(sys.executable, "-m", "prefect", "deployment", "run", "training/training"),
            *("--param", f"reason={reason}", "--watch", "--watch-timeout", str(_TRAINING_S)),
            folder=checkout,
            environment=addresses.environment(),
        )


def run_beside(checkout: Path, addresses: Addresses) -> None:
    """Let the worker run `BESIDE`."""
    for name in BESIDE:
        prefect = (sys.executable, "-m", "prefect", "deployment", "run", name, "--watch")
        # A verdict needs observations, which a new service has none of: the run may end as it likes.
        subprocess.run(prefect, cwd=checkout, env=addresses.environment(), check=False)  # noqa: S603 # our own


def run(*command: str, folder: Path, environment: dict[str, str] | None = None) -> None:
    """Run a command; it must succeed."""
    subprocess.run(command, cwd=folder, env=environment, check=True)  # noqa: S603 # our own commands


def main() -> None:
    """Train where nothing runs, then take the pictures."""
    parser = argparse.ArgumentParser(description="Take the pictures of MLflow's and Prefect's pages.")
    parser.add_argument("--mlflow", help="address of a running MLflow that has versions; with --prefect")
    parser.add_argument("--prefect", help="address of a running Prefect server that has trained")
    options = parser.parse_args()
    if options.mlflow and options.prefect:
        take_all(Addresses(mlflow=options.mlflow, prefect=options.prefect, service=""))
        return
    addresses = Addresses.free()
    with tempfile.TemporaryDirectory(prefix="mien-consoles-") as folder:
        checkout = clone(Path(folder))
        with stack(checkout, addresses):
            train(checkout, addresses)
            run_beside(checkout, addresses)
            take_all(addresses)


if __name__ == "__main__":
    main()
