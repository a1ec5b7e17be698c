"""What a connection may cost before anybody knows whose it is: heads, their time, their number, frames."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from shutil import which

import httpx
import pytest
from websockets.frames import OP_BINARY, OP_CONT, OP_PING, OP_PONG, Frame, Opcode
from websockets.sync.connection import Connection

from tests.support.http_service import PATIENCE_S, picture_of, ready, serving, settings_in, until
from tests.support.onnx_models import CLASSES
from tests.support.serving_models import model_folder
from tests.support.streams import ending, kind, metric, stream_of

HEAD_BYTES, HEAD_S, CONNECTIONS = 4096, 0.6, 12
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
WEBSOCKET = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("connections")
    model_folder(folder / "model")
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    limits = {"max_head_bytes": HEAD_BYTES, "head_timeout_s": HEAD_S, "max_connections": CONNECTIONS}
    # The client's own connection comes and goes, so that a test can fill all places.
    with serving(settings_in(folder, **limits)) as client:
        yield ready(client)


def connected(client: httpx.Client) -> socket.socket:
    return socket.create_connection(("127.0.0.1", client.base_url.port or 80), timeout=PATIENCE_S)


def head(verb: str, path: str, *, fields: bytes = b"", length: int | None = None) -> bytes:
    size = b"" if length is None else b"Content-Length: %d\r\n" % length
    return f"{verb} {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + size + fields + b"\r\n"


class Answers:
    """Reads one answer after the other from a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")

    def next(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self._file.readline().split()[1])
        fields = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(":")
            fields[name.lower()] = value.strip()
        return status, fields, self._file.read(int(fields.get("content-length", 0)))

    def is_at_end(self) -> bool:
        return self._file.read(1) == b""


def answered(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    return Answers(connection).next()


def emotion(body: bytes) -> str:
    return str(json.loads(body)["emotion"])


# Heads


@pytest.mark.parametrize(
    "begun", [b"GET /livez HTTP/1.1\r\nHost: localhost\r\n", b"G", b"\r\n", b"POST /detect HTTP/1.1\r\nX: "]
)
def test_half_a_head_is_answered_with_408_in_time(client: httpx.Client, begun: bytes) -> None:
    before = metric(client, 'mien_connections_ended_total{reason="head-too-slow"}')
    with closing(connected(client)) as connection:
        connection.sendall(begun)
        since = time.monotonic()
        answers = Answers(connection)
        status, fields, body = answers.next()
        assert answers.is_at_end()
    assert HEAD_S * 0.9 < time.monotonic() - since < HEAD_S + 10
    assert (status, kind(json.loads(body))) == (408, "head-too-slow")
    assert fields["content-type"] == "application/problem+json"
    assert fields["x-content-type-options"] == "nosniff"
    assert metric(client, 'mien_connections_ended_total{reason="head-too-slow"}') == before + 1


def test_a_byte_now_and_then_gives_no_more_time(client: httpx.Client) -> None:
    with closing(connected(client)) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        since = time.monotonic()
        connection.settimeout(0.05)
        received = b""
        while not received and time.monotonic() - since < PATIENCE_S:
            connection.sendall(b"X: y\r\n")
            try:
                received = connection.recv(20)
            except TimeoutError:
                continue
    assert received.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - since < HEAD_S + 10


def test_a_second_request_has_a_time_of_its_own(client: httpx.Client) -> None:
    with closing(connected(client)) as connection:
        answers = Answers(connection)
        for _ in range(3):
            connection.sendall(head("GET", "/livez"))
            assert answers.next()[0] == 200
            time.sleep(HEAD_S * 0.6)
        connection.sendall(b"GET /livez HT")
        assert answers.next()[0] == 408


def test_a_connection_without_a_byte_is_closed_without_an_answer(client: httpx.Client) -> None:
    with closing(connected(client)) as connection:
        assert connection.recv(1) == b""


@pytest.mark.parametrize("piece", [1000, 1 << 20], ids=["in pieces", "at once"])
@pytest.mark.parametrize(
    "fields",
    [b"X-Long: " + b"a" * 3 * HEAD_BYTES + b"\r\n", b"X: y\r\n" * HEAD_BYTES],
    ids=["one field", "many fields"],
)
def test_a_head_that_is_too_large_is_answered_with_431(
    client: httpx.Client, fields: bytes, piece: int
) -> None:
    data = head("POST", "/detect", fields=fields, length=3) + b"abc"
    with closing(connected(client)) as connection:
        answers = Answers(connection)
        sender = threading.Thread(target=sent_in_pieces, args=(connection, data, piece))
        sender.start()
        status, _, body = answers.next()
        sender.join()
    assert (status, kind(json.loads(body))) == (431, "head-too-large")


def sent_in_pieces(connection: socket.socket, data: bytes, piece: int) -> None:
    for start in range(0, len(data), piece):
        connection.sendall(data[start : start + piece])


def test_a_long_target_is_too_large_a_head_too(client: httpx.Client) -> None:
    with closing(connected(client)) as connection:
        connection.sendall(head("GET", "/livez?" + "a" * 2 * HEAD_BYTES))
        assert answered(connection)[0] == 431


def test_what_the_bound_allows_is_answered_beside_a_large_body(client: httpx.Client) -> None:
    padding = b"X-Long: " + b"a" * (HEAD_BYTES - 300) + b"\r\n"
    data = picture_of(2, side=400)
    with closing(connected(client)) as connection:
        connection.sendall(head("POST", "/detect", fields=padding, length=len(data)) + data)
        status, _, body = answered(connection)
    assert (status, emotion(body)) == (200, CLASSES[2])


def test_fields_behind_a_chunked_body_are_bounded_too(client: httpx.Client) -> None:
    data = picture_of(1)
    chunk = b"%x\r\n%s\r\n" % (len(data), data)
    with closing(connected(client)) as connection:
        connection.sendall(
            head("POST", "/detect", fields=b"Transfer-Encoding: chunked\r\n") + chunk + b"0\r\n"
        )
        sender = threading.Thread(target=sent_in_pieces, args=(connection, b"X: y\r\n" * 5000, 1000))
        sender.start()
        status, _, body = answered(connection)
        sender.join()
    assert (status, kind(json.loads(body))) == (431, "head-too-large")


def test_what_is_not_http_is_a_problem(client: httpx.Client) -> None:
    for nonsense in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"hello there\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    ):
        with closing(connected(client)) as connection:
            connection.sendall(nonsense)
            status, _, body = answered(connection)
        assert (status, kind(json.loads(body))) in {(400, "bad-request"), (405, "method-not-allowed")}


def test_requests_far_ahead_of_their_answers_end_the_connection(client: httpx.Client) -> None:
    data = picture_of(0)
    ahead = head("POST", "/detect", length=len(data)) + data
    before = metric(client, 'mien_connections_ended_total{reason="pipelined"}')
    with closing(connected(client)) as connection:
        connection.sendall(ahead * 16)
        answers = Answers(connection)
        assert [answers.next()[0] for _ in range(16)] == [200] * 16
    with closing(connected(client)) as connection:
        connection.sendall(ahead + head("GET", "/livez") * 2000)
        until(lambda: metric(client, 'mien_connections_ended_total{reason="pipelined"}') == before + 1)


# Number of connections


def test_half_heads_on_every_connection_keep_no_client_out(client: httpx.Client) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(closing(connected(client))) for _ in range(3 * CONNECTIONS)]
        for connection in held:
            try:
                connection.sendall(b"GET /livez HTTP/1.1\r\n")
            except OSError:
                continue  # it has made room by now
        with httpx.Client(base_url=client.base_url, timeout=PATIENCE_S) as other:
            assert other.post("/detect", content=picture_of(3)).json()["emotion"] == CLASSES[3]
            assert metric(other, "mien_connections") <= CONNECTIONS
            assert metric(other, 'mien_connections_ended_total{reason="made-room"}') > 0


def test_a_connection_beyond_those_with_requests_is_refused(client: httpx.Client) -> None:
    waiting = head("POST", "/detect", length=10, fields=b"Expect: 100-continue\r\n")
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            connection = stack.enter_context(closing(connected(client)))
            connection.sendall(waiting)
            assert connection.recv(25).startswith(b"HTTP/1.1 100 ")
        with closing(connected(client)) as refused:
            status, fields, body = answered(refused)
    assert (status, kind(json.loads(body))) == (503, "connections-full")
    assert int(fields["retry-after"]) >= 1
    with httpx.Client(base_url=client.base_url, timeout=PATIENCE_S) as other:
        until(lambda: is_answered(other))


def is_answered(client: httpx.Client) -> bool:
    try:
        return client.get("/livez").status_code == 200
    except httpx.TransportError:
        return False


def test_a_client_that_reads_no_answer_is_let_go(folder: Path) -> None:
    with serving(settings_in(folder, body_timeout_s=0.5)) as client:
        ready(client)
        with closing(socket.socket()) as connection:
            # The client's side takes little, so that answers wait in the service.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", client.base_url.port or 80))
            connection.settimeout(0.5)
            try:
                # Slowly: too many requests ahead of their answers would end it too.
                for _ in range(200):
                    connection.sendall(head("GET", "/openapi.json") * 3)
                    time.sleep(0.1)
            except OSError:
                pass  # it reads no more requests, or has let go
            until(lambda: metric(client, 'mien_connections_ended_total{reason="unread"}') == 1)


# Offers of another protocol


def test_an_offer_of_http_2_costs_no_body(client: httpx.Client) -> None:
    data = picture_of(4)
    post = head("POST", "/detect", fields=H2C, length=len(data))
    with closing(connected(client)) as connection:
        answers = Answers(connection)
        for first, rest in ((post + data, b""), (post, data), (post + data[:50], data[50:])):
            connection.sendall(first)
            time.sleep(0.05 if rest else 0)
            connection.sendall(rest)
            status, _, body = answers.next()
            assert (status, emotion(body)) == (200, CLASSES[4])


def test_an_offer_of_http_2_with_chunks(client: httpx.Client) -> None:
    data = picture_of(5)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (data[:30], data[30:])) + b"0\r\n\r\n"
    with closing(connected(client)) as connection:
        answers = Answers(connection)
        for fields in (H2C, b"", H2C):
            post = head("POST", "/detect", fields=b"Transfer-Encoding: chunked\r\n" + fields)
            connection.sendall(post + chunks)
            status, _, body = answers.next()
            assert (status, emotion(body)) == (200, CLASSES[5])


def test_offers_of_http_2_one_behind_the_other(client: httpx.Client) -> None:
    pictures = [picture_of(index) for index in (0, 3, 6)]
    posts = [head("POST", "/detect", fields=H2C, length=len(data)) + data for data in pictures]
    with closing(connected(client)) as connection:
        connection.sendall(
            b"".join([posts[0], head("GET", "/livez"), posts[1], head("GET", "/livez", fields=H2C), posts[2]])
        )
        answers = Answers(connection)
        found = [answers.next() for _ in range(5)]
    assert [status for status, _, _ in found] == [200] * 5
    assert [emotion(found[index][2]) for index in (0, 2, 4)] == [CLASSES[index] for index in (0, 3, 6)]


def test_curl_may_ask_for_http_2(client: httpx.Client, tmp_path: Path) -> None:
    curl = which("curl")
    if curl is None:
        pytest.skip("curl is not installed: apt-get install curl")
    (tmp_path / "face.png").write_bytes(picture_of(6))
    command = [curl, "-sS", "--http2", "--data-binary", f"@{tmp_path}/face.png", f"{client.base_url}/detect"]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True)
    assert emotion(done.stdout) == CLASSES[6]


@pytest.mark.parametrize(("path", "status"), [("/detect", 200), ("/stream", 405), ("/nothing", 404)])
def test_a_post_that_asks_for_a_websocket_is_answered_at_once(
    client: httpx.Client, path: str, status: int
) -> None:
    data = picture_of(1)
    with closing(connected(client)) as connection:
        connection.sendall(head("POST", path, fields=WEBSOCKET, length=len(data)) + data)
        assert answered(connection)[0] == status


@pytest.mark.parametrize(
    "fields",
    [
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
        WEBSOCKET + b"X: y\r\n" * 200,
        WEBSOCKET.replace(b"13", b"7"),
    ],
    ids=["no key", "many fields", "old version"],
)
def test_a_handshake_that_cannot_be_taken_is_answered_at_once(client: httpx.Client, fields: bytes) -> None:
    with closing(connected(client)) as connection:
        connection.sendall(head("GET", "/stream", fields=fields))
        assert answered(connection)[0] in {400, 426}


# Frames


def masked(opcode: Opcode, data: bytes = b"", *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin=fin).serialize(mask=True)


@pytest.mark.parametrize(
    "frames",
    [
        masked(OP_PING),
        masked(OP_PING, b"x" * 125),
        masked(OP_PONG),
        masked(OP_BINARY, b"a", fin=False) + masked(OP_CONT, b"", fin=False) * 400,
        masked(OP_BINARY),
    ],
    ids=["pings", "long pings", "pongs", "fragments", "messages"],
)
def test_frames_of_every_kind_are_counted(client: httpx.Client, frames: bytes) -> None:
    before = metric(client, 'mien_connections_ended_total{reason="flood"}')
    with stream_of(client, ping_interval=None) as stream:
        sender = threading.Thread(target=sent_without_pause, args=(stream, frames * 400))
        sender.start()
        answered = 0
        while sender.is_alive() or answered < 5:
            assert client.post("/detect", content=picture_of(3)).status_code == 200
            answered += 1
        sender.join()
        messages, close = ending(stream)
    assert kind(messages[-1]) == "rate-limited"
    assert close.code == 1008
    assert metric(client, 'mien_connections_ended_total{reason="flood"}') == before + 1


def sent_without_pause(stream: Connection, data: bytes) -> None:
    deadline = time.monotonic() + 5
    try:
        while time.monotonic() < deadline:
            stream.socket.sendall(data)
    except OSError:
        pass  # the service has let go


def test_unfinished_messages_count_as_held_bytes(folder: Path) -> None:
    with serving(settings_in(folder, max_held_bytes=1_000_000, max_bytes=900_000)) as client:
        ready(client)
        half = masked(OP_BINARY, b"x" * 800_000)[:700_000]
        with stream_of(client) as one, stream_of(client) as two:
            one.socket.sendall(half)
            time.sleep(0.3)
            two.socket.sendall(half)
            messages, close = ending(two)
            assert ([kind(item) for item in messages], close.code) == (["bodies-full"], 1013)
            one.socket.close()
            until(lambda: client.post("/detect", content=b"x" * 800_000).status_code == 415)
