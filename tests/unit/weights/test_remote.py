"""Downloads from a server on this machine."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from pipelines.weights.remote import DownloadFailed, download, download_checkpoint, reachable
from tests.support.weight_files import serving, write_checkpoint


def test_a_file_comes_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a.bin").write_bytes(b"x" * 3_000_000)
    with serving(tmp_path / "there") as address:
        download(f"{address}/a.bin", tmp_path / "a.bin", timeout_s=5)
    assert (tmp_path / "a.bin").read_bytes() == b"x" * 3_000_000


def test_a_missing_file_leaves_nothing_behind(tmp_path: Path) -> None:
    with serving(tmp_path) as address, pytest.raises(DownloadFailed, match="404"):
        download(f"{address}/none", tmp_path / "a.bin", timeout_s=5)
    assert not (tmp_path / "a.bin").exists()


def test_an_answer_that_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(DownloadFailed, match=r"5 of 100 bytes|IncompleteRead"):
            download(f"http://127.0.0.1:{server.getsockname()[1]}/a", tmp_path / "a.bin", timeout_s=5)
        thread.join()
    assert not (tmp_path / "a.bin").exists()


def test_a_silent_server_costs_no_more_than_the_timeout(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        start = time.monotonic()
        with pytest.raises(DownloadFailed, match="timed out"):
            download(f"http://127.0.0.1:{server.getsockname()[1]}/a", tmp_path / "a.bin", timeout_s=0.2)
        assert time.monotonic() - start < 5


def test_a_checkpoint_is_its_two_files_and_the_third_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = write_checkpoint(tmp_path / "hub" / "some" / "vit" / "resolve" / "main")
    with serving(tmp_path / "hub") as address:
        monkeypatch.setenv("HF_ENDPOINT", f"{address}/")
        for name in ("two", "three"):
            (tmp_path / name).mkdir()
            download_checkpoint("some/vit", tmp_path / name, timeout_s=5)
            (published / "preprocessor_config.json").write_text("{}")
    assert {path.name for path in (tmp_path / "two").iterdir()} == {"config.json", "model.safetensors"}
    assert (tmp_path / "three" / "preprocessor_config.json").read_text() == "{}"


def test_only_addresses_that_accept_a_connection_are_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as other:
        there = f"http://127.0.0.1:{server.getsockname()[1]}"
        gone = f"http://127.0.0.1:{other.getsockname()[1]}"
        other.close()
        assert reachable([there, gone, "https://no-such-host.invalid"], timeout_s=2) == {there}


def test_behind_a_proxy_the_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        assert reachable(["https://no-such-host.invalid"], timeout_s=2) == {"https://no-such-host.invalid"}
