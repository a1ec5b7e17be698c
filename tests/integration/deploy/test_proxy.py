"""Debian's nginx with the proxy's own configuration, before two real services."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.support.debian import program
from tests.support.http_process import free_port, running
from tests.support.http_service import PATIENCE_S, picture_of, until
from tests.support.proxy import configured
from tests.support.serving_models import model_folder

REQUESTS = 120
CLIENTS = 8
KEYED = {"MIEN_ALLOW_ANONYMOUS": "true", "FORWARDED_ALLOW_IPS": "*", "MIEN_WORKERS": "1", "MIEN_THREADS": "1"}


class Proxied:
    """Two services behind nginx."""

    def __init__(self, url: str, services: list[subprocess.Popen[str]], *, mlflow: str, folder: Path) -> None:
        self.url = url
        self.services = services
        self.mlflow = mlflow
        self.folder = folder


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    repository, tmp_path = Path(__file__).parents[3], tmp_path_factory.mktemp("proxy")
    (tmp_path / "model").mkdir()
    model_folder(tmp_path / "model")
    with ExitStack() as stack:
        started = [stack.enter_context(running(tmp_path, **KEYED)) for _ in range(2)]
        upstream = [client.base_url.port or 0 for _, client in started]
        ports = (free_port(), free_port(), free_port())
        configuration = configured(repository, tmp_path, ports=ports, upstream=upstream)
        (tmp_path / "passwords").write_text("admin:{PLAIN}secret\n")
        nginx = started_nginx(configuration)
        try:
            url = f"http://127.0.0.1:{ports[0]}"
            until(lambda: nginx.poll() is not None or alive(url))
            assert nginx.poll() is None, nginx.communicate()[1]
            services = [process for process, _ in started]
            yield Proxied(url, services, mlflow=f"http://127.0.0.1:{ports[1]}", folder=tmp_path)
        finally:
            nginx.terminate()
            nginx.communicate(timeout=PATIENCE_S)


def started_nginx(configuration: Path) -> subprocess.Popen[str]:
    command = [program("nginx", package="nginx"), "-p", str(configuration.parent), "-c", str(configuration)]
    return subprocess.Popen([*command, "-g", "daemon off;"], stderr=subprocess.PIPE, text=True)


def alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez").status_code == 200
    except httpx.TransportError:
        return False


def test_what_the_proxy_passes_and_keeps(proxied: Proxied) -> None:
    with httpx.Client(base_url=proxied.url, timeout=PATIENCE_S) as client:
        assert client.get("/metrics").status_code == 404
        assert client.get("/livez", headers={"X-Request-Id": "mine"}).headers["x-request-id"] == "mine"
        # The service's own problem, not nginx's page.
        refused = client.post("/detect", content=bytes(11 * 1024 * 1024))
        assert (refused.status_code, refused.headers["content-type"]) == (413, "application/problem+json")
        # A client cannot claim to be this machine: DELETE needs a key.
        claimed = client.delete(
            f"/predictions/{'0' * 32}", headers={"X-Forwarded-For": "127.0.0.1", "Host": "localhost"}
        )
        assert claimed.status_code in {401, 403, 404}


def test_mlflow_is_shown_to_those_with_the_password_only(proxied: Proxied) -> None:
    assert httpx.get(proxied.mlflow).status_code == 401
    assert httpx.get(proxied.mlflow, auth=("admin", "wrong")).status_code == 401
    # No server is behind it here; nginx runs all the same.
    assert httpx.get(proxied.mlflow, auth=("admin", "secret"), timeout=60).status_code in {502, 504}


def test_a_service_that_is_killed_under_load_costs_no_request_that_can_be_retried(proxied: Proxied) -> None:
    """Pictures larger than nginx keeps in memory too: it keeps the body. Last: one is gone then.

    An answer that had begun cannot be asked for again by a proxy: the client has its first bytes.
    """
    victim = proxied.services[0]
    large = picture_of(2) + bytes(2 * 1024 * 1024)
    broken_off: list[str] = []
    with httpx.Client(base_url=proxied.url, timeout=PATIENCE_S) as client:

        def ask(index: int) -> int:
            if index == REQUESTS // 3:
                victim.kill()
            body = large if index % 10 == 0 else picture_of(index % 3)
            try:
                return client.post("/detect", content=body).status_code
            except httpx.RemoteProtocolError as error:
                broken_off.append(str(error))
                return client.post("/detect", content=body).status_code

        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = list(pool.map(ask, range(REQUESTS)))
    assert victim.wait(PATIENCE_S) != 0
    assert answers == [200] * REQUESTS
    # Most that were under way were asked again unseen.
    assert len(broken_off) < CLIENTS / 2
    assert all("without sending complete message body" in failure for failure in broken_off)
    tried = (proxied.folder / "access.log").read_text()
    assert '"tried":"502, 200"' in tried
