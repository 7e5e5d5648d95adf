"""Connections as clients really have them: slow, silent, pipelined, broken, or open while the server ends."""

import json
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.service.conftest import COMMAND, Server, png, running_server, wait_until
from tests.service.processes import children_of
from training import Dataset

HEADER_SECONDS, BODY_SECONDS = 1.0, 2.0
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with little patience."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLYPHSERVE_HEADER_SECONDS", str(HEADER_SECONDS))
        patch.setenv("GLYPHSERVE_BODY_SECONDS", str(BODY_SECONDS))
        with running_server(tmp_path_factory.mktemp("hasty") / "home", "--no-worker") as server:
            yield server


@contextmanager
def connection(server: Server) -> Iterator[socket.socket]:
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port or 80), timeout=60) as connected:
        yield connected


def request(content: bytes, *headers: str, target: str = "/predict", kind: str = "image/png") -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + content


def rest(connected: socket.socket) -> bytes:
    received = b""
    while piece := connected.recv(65_536):
        received += piece
    return received


def answers(received: bytes) -> list[tuple[int, dict[str, str], dict[str, object]]]:
    """Take apart responses that follow each other on a connection."""
    found = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers["content-length"])
        found.append((int(status.split()[1]), headers, json.loads(received[:length])))
        received = received[length:]
    return found


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"POST /predict HT", b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_client_that_is_silent_or_slow_with_its_headers_is_let_go(sent: bytes, hasty: Server) -> None:
    with connection(hasty) as connected:
        connected.sendall(sent)
        received = rest(connected)
    if sent.strip():
        ((status, headers, body),) = answers(received)
        assert (status, headers["content-type"], body["code"]) == (408, PROBLEM, "request_too_slow")
        assert headers["x-request-id"] == body["request_id"]
    else:
        assert received == b""


@pytest.mark.parametrize("target", ["/predict", "/predict?top_k=1", "/train"])
def test_a_body_that_does_not_come_is_answered_with_408(target: str, hasty: Server) -> None:
    started = time.monotonic()
    with connection(hasty) as connected:
        connected.sendall(request(bytes(1000), target=target)[:-1])
        ((status, headers, body),) = answers(rest(connected))
    assert (status, headers["connection"], body["code"]) == (408, "close", "request_too_slow")
    assert time.monotonic() - started > BODY_SECONDS / 2


def test_a_slow_body_takes_no_place_from_others(hasty: Server, digits: Dataset) -> None:
    slow = [socket.create_connection((httpx.URL(hasty.url).host, httpx.URL(hasty.url).port or 80)) for _ in range(200)]
    try:
        for connected in slow:
            connected.sendall(request(bytes(1000), target="/predict?top_k=1")[:-1])
        body = {"pixels": digits.images[0].tolist()}
        assert hasty.http.post("/predict", json=body).status_code == 200
    finally:
        for connected in slow:
            connected.close()


@pytest.mark.parametrize("pieces", [1, 100])
def test_headers_without_end_are_refused(pieces: int, hasty: Server) -> None:
    long = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n" + b"".join(
        b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(100)
    )
    with connection(hasty) as connected:
        for start in range(0, len(long), len(long) // pieces):
            try:
                connected.sendall(long[start : start + len(long) // pieces])
            except OSError:  # it has heard enough
                break
        ((status, headers, body),) = answers(rest(connected))
    assert (status, headers["content-type"], body["code"]) == (431, PROBLEM, "headers_too_large")


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /predict?top_k=1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnothing\r\n",
    ],
)
def test_what_is_no_http_is_answered_in_the_one_shape(sent: bytes, hasty: Server) -> None:
    with connection(hasty) as connected:
        connected.sendall(sent)
        ((status, headers, body),) = answers(rest(connected))
    assert (status, headers["content-type"], body["code"]) == (400, PROBLEM, "malformed_request")


def test_pipelined_requests_are_answered_in_their_order(server: Server, digits: Dataset) -> None:
    good = [png(digit) for digit in digits.images[:6]]
    sent = [
        request(good[0]),
        request(good[1], target="/predict?top_k=10"),
        request(good[2]),
        request(b"broken"),
        request(good[3]),
        request(good[4], "Connection: close"),
    ]
    labels = [
        server.http.post("/predict", content=content, headers={"Content-Type": "image/png"}).json()["label"]
        for content in good[:5]
    ]
    with connection(server) as connected:
        connected.sendall(b"".join(sent))
        received = answers(rest(connected))
    assert [status for status, _, _ in received] == [200, 200, 200, 415, 200, 200]
    assert [body.get("label") for _, _, body in received] == [*labels[:3], None, *labels[3:]]


def test_garbage_after_a_request_does_not_take_its_answer(server: Server, digits: Dataset) -> None:
    for target in ("/predict", "/predict?top_k=10"):
        with connection(server) as connected:
            connected.sendall(request(png(digits.images[0]), target=target) + b"garbage\r\n\r\n")
            assert answers(rest(connected))[0][0] == 200


@pytest.mark.parametrize(
    "garbage", [b"garbage\r\n\r\n", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnothing\r\n"]
)
@pytest.mark.parametrize("before", [1, 2, 3])
def test_requests_before_garbage_are_all_answered_and_then_the_garbage(
    before: int, garbage: bytes, server: Server, digits: Dataset
) -> None:
    with connection(server) as connected:
        connected.sendall(before * request(png(digits.images[0]), target="/predict?top_k=10") + garbage)
        assert [status for status, _, _ in answers(rest(connected))] == [200] * before + [400]


@pytest.mark.parametrize("target", ["/predict", "/predict?top_k=10"])
def test_a_request_in_single_bytes_is_a_request(target: str, server: Server, digits: Dataset) -> None:
    with connection(server) as connected:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request(png(digits.images[0]), "Connection: close", target=target):
            connected.sendall(bytes([byte]))
        ((status, _, _),) = answers(rest(connected))
    assert status == 200


@pytest.fixture
def long_draining(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let servers drain for so long that even a busy machine asks all it wants to in that time."""
    monkeypatch.setenv("GLYPHSERVE_DRAIN_SECONDS", "8")
    monkeypatch.setenv("GLYPHSERVE_BODY_SECONDS", "300")


@pytest.mark.slow
@pytest.mark.usefixtures("long_draining")
def test_a_server_that_is_told_to_end_answers_first_and_says_so_to_balancers(tmp_path: Path, digits: Dataset) -> None:
    with running_server(tmp_path / "home", "--no-worker") as server, connection(server) as kept:
        begun = request(png(digits.images[0]))
        kept.sendall(begun[:-1])
        server.process.send_signal(signal.SIGTERM)

        def says_that_it_ends() -> bool:  # a request that began before it was told to end keeps its connection
            ready = httpx.get(f"{server.url}/health/ready")
            return (ready.status_code, ready.headers.get("connection")) == (503, "close")

        wait_until(says_that_it_ends, "503, and the end of the connection")
        late = httpx.post(f"{server.url}/predict", content=png(digits.images[0]), headers={"Content-Type": "image/png"})
        assert (late.status_code, late.headers["connection"]) == (200, "close")
        kept.sendall(begun[-1:])
        ((status, headers, _),) = answers(rest(kept))
        assert (status, headers["connection"]) == (200, "close")
        assert server.process.wait(180) == 0


@pytest.mark.slow
@pytest.mark.usefixtures("long_draining")
def test_a_connection_is_never_closed_without_a_word_while_the_server_ends(tmp_path: Path, digits: Dataset) -> None:
    begun = request(png(digits.images[0]), target="/predict?top_k=10")
    with running_server(tmp_path / "home", "--no-worker") as server, connection(server) as kept:
        kept.sendall(begun[:-1])
        wait_until(lambda: "in_flight 2.0" in httpx.get(f"{server.url}/metrics").text, "both requests")
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{server.url}/health/ready").status_code == 503, "503")
        kept.sendall(begun[-1:] + begun)
        first, last = answers(rest(kept))
    assert (first[0], last[0]) == (200, 200)
    assert "connection" not in first[1]  # its answer was to keep it open, when it began
    assert last[1]["connection"] == "close"


@pytest.mark.slow
def test_of_a_crowd_those_without_a_place_are_turned_away_at_once_and_may_ask_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Dataset
) -> None:
    monkeypatch.setenv("GLYPHSERVE_MAX_RUNNING_REQUESTS", "1")
    monkeypatch.setenv("GLYPHSERVE_MAX_WAITING_REQUESTS", "1")
    sent = request(png(digits.images[0]), "X-Request-ID: mine", target="/predict?top_k=1")
    with running_server(tmp_path / "home", "--no-worker") as server, ExitStack() as stack:
        *crowd, probe = (stack.enter_context(connection(server)) for _ in range(21))
        alive = httpx.get(httpx.URL(server.url).join("/health/live"))
        server.process.send_signal(signal.SIGSTOP)  # so that all have come when it looks again
        for connected in crowd:
            connected.sendall(sent)
        probe.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        server.process.send_signal(signal.SIGCONT)
        received = [answers(answer(connected))[0] for connected in crowd]
        assert {status for status, _, _ in received} == {200, 503}
        refused = [(headers, body) for status, headers, body in received if status == 503]
        assert len(refused) >= 15
        for headers, body in refused:
            assert headers["retry-after"] == "1"
            assert (headers["content-type"], headers["x-content-type-options"]) == (PROBLEM, "nosniff")
            assert headers["x-request-id"] == body["request_id"] == "mine"
            assert body["code"] == "unavailable"
        (status, headers, body), *_ = answers(answer(probe))
        assert (status, body, {*headers}) == (200, alive.json(), {*alive.headers})
        for connected in crowd:
            connected.sendall(sent)
            assert answers(answer(connected))[0][0] == 200


def answer(connected: socket.socket) -> bytes:
    """Receive one answer."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connected.recv(65_536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        piece = connected.recv(65_536)
        received, body = received + piece, body + piece
    return received


OFFERS = [
    ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"),
    ("Connection: upgrade", "Upgrade: websocket"),
    ("Upgrade: TLS/1.0, h2c", "Connection: keep-alive, Upgrade"),
]


def chunked(sent: bytes) -> bytes:
    """Send the body of a request in chunks instead."""
    head, _, body = sent.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    half = len(body) // 2
    chunks = [b"%x\r\n%b\r\n" % (len(each), each) for each in (body[:half], body[half:]) if each]
    return b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", b""]) + b"".join(chunks) + b"0\r\n\r\n"


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("write", [bytes, chunked])
@pytest.mark.parametrize("pieces", [1, 2, 10_000])
def test_an_offer_to_upgrade_changes_nothing(
    offer: tuple[str, ...], write: Callable[[bytes], bytes], pieces: int, server: Server, digits: Dataset
) -> None:
    job = json.dumps({"recipe": "nobody"}).encode()
    sent = [
        write(request(png(digits.images[0]), *offer)),
        write(request(png(digits.images[0]), *offer, target="/predict?top_k=10")),
        write(request(job, *offer, target="/train", kind="application/json")),
        request(b"", *offer, target="/nowhere"),
        request(png(digits.images[0]), "Connection: close"),
    ]
    whole = b"".join(sent)
    size = -(-len(whole) // pieces)
    with connection(server) as connected:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(whole), size):
            connected.sendall(whole[start : start + size])
        received = answers(rest(connected))
    assert [status for status, _, _ in received] == [200, 200, 422, 404, 200]
    assert received[0][2]["label"] == received[1][2]["label"] == received[4][2]["label"]
    assert received[2][2]["field"] == "recipe"


def test_a_tunnel_is_refused(server: Server) -> None:
    with connection(server) as connected:
        connected.sendall(b"CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: elsewhere.example:443\r\n\r\nhello")
        ((status, headers, body),) = answers(rest(connected))
    assert (status, headers["connection"], body["code"]) == (501, "close", "not_implemented")


@pytest.mark.parametrize("target", ["/predict", "/predict?top_k=1"])
def test_many_pipelined_requests_are_all_answered(target: str, server: Server, digits: Dataset) -> None:
    sent = 999 * request(png(digits.images[0]), target=target)
    sent += request(png(digits.images[0]), "Connection: close", target=target)
    with connection(server) as connected:
        sender = threading.Thread(target=connected.sendall, args=[sent])
        sender.start()
        received = answers(rest(connected))
        sender.join()
    assert [status for status, _, _ in received] == [200] * 1000


def test_a_request_behind_a_large_body_is_answered(server: Server, digits: Dataset) -> None:
    first, last = request(bytes(300_000)), request(png(digits.images[0]), "Connection: close")
    for cut in (1, 20, len(last) // 2):
        with connection(server) as connected:
            connected.sendall(first + last[:cut])
            httpx.get(f"{server.url}/health/live")
            connected.sendall(last[cut:])
            assert [status for status, _, _ in answers(rest(connected))] == [415, 200]


def test_headers_without_end_behind_another_request_are_refused(server: Server) -> None:
    first = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    endless = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"a" * 1_000_000
    with connection(server) as connected:
        with suppress(OSError):  # it has heard enough
            connected.sendall(first + endless)
        received = answers(rest(connected))
    assert [status for status, _, _ in received] == [200, 431]


def test_an_absolute_target_is_answered_and_its_authority_counts(server: Server, digits: Dataset) -> None:
    with connection(server) as connected:
        for target in (
            "http://127.0.0.1",
            "http://127.0.0.1:8000?",
            "http://[::1]:8000/",
            "HTTP://localhost/health/live",
        ):
            connected.sendall(f"GET {target} HTTP/1.1\r\nHost: evil.example\r\n\r\n".encode())
            assert answer(connected).startswith(b"HTTP/1.1 200"), target
        connected.sendall(request(png(digits.images[0]), target="http://localhost/predict"))
        assert answer(connected).startswith(b"HTTP/1.1 200")
        connected.sendall(b"GET http://evil.example/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert answer(connected).startswith(b"HTTP/1.1 421")
        connected.sendall(b"GET http://evil.example/models HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert answer(connected).startswith(b"HTTP/1.1 421")


@pytest.mark.parametrize("coding", ["gzip, chunked", "gzip\r\nTransfer-Encoding: chunked", "identity, chunked"])
@pytest.mark.parametrize("target", ["/predict", "/train"])
def test_a_transfer_coding_that_is_not_undone_is_refused(coding: str, target: str, server: Server) -> None:
    sent = f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n"
    with connection(server) as connected:
        connected.sendall(sent.encode())
        ((status, _, body),) = answers(rest(connected))
    assert (status, body["code"]) == (501, "not_implemented")


@pytest.mark.slow
@pytest.mark.parametrize("target", ["/predict", "/openapi.json"])
def test_a_client_that_asks_and_never_reads_is_let_go(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Dataset
) -> None:
    monkeypatch.setenv("GLYPHSERVE_WRITE_SECONDS", "1")
    get = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    sent = request(png(digits.images[0])) if target == "/predict" else get
    with running_server(tmp_path / "home", "--no-worker") as server, socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        url = httpx.URL(server.url)
        silent.connect((url.host, url.port))
        silent.settimeout(180)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            ask_for_ever(silent, 20 * sent)
        assert httpx.get(f"{server.url}/health/live").status_code == 200


def ask_for_ever(connected: socket.socket, sent: bytes) -> None:
    while True:
        connected.sendall(sent)


def limited(soft: int, hard: int) -> list[str]:
    """Start a server with so many file descriptors."""
    return ["sh", "-c", f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"', "sh", *COMMAND]


def test_a_server_uses_the_descriptors_that_it_may_have(tmp_path: Path) -> None:
    with running_server(tmp_path / "home", "--no-worker", command=limited(256, 512)) as server:
        pids = [server.process.pid, *children_of(server.process.pid)]
        limits = [Path(f"/proc/{pid}/limits").read_text() for pid in pids]
    assert any(re.search(r"Max open files +512 +512 ", limit) for limit in limits)


@pytest.mark.slow
def test_connections_never_use_up_the_descriptors(tmp_path: Path, digits: Dataset) -> None:
    sent = request(png(digits.images[0]))
    with running_server(tmp_path / "home", "--no-worker", command=limited(256, 256)) as server, ExitStack() as stack:
        silent = [stack.enter_context(connection(server)) for _ in range(400)]
        # Those that ask are answered, though more are connected than there are descriptors.
        for _ in range(20):
            with connection(server) as connected:
                connected.sendall(sent)
                assert answers(answer(connected))[0][0] == 200
        assert sum(rest(connected) == b"" for connected in silent[:200]) == 200
        begun = [stack.enter_context(connection(server)) for _ in range(200)]
        for connected in begun:
            with suppress(OSError):
                connected.sendall(sent[:-1])
        for connected in begun[:128]:
            with suppress(ConnectionResetError):  # closed before what it sent was read
                received = rest(connected)
                assert not received or answers(received)[0][0] in (408, 503)
        assert httpx.get(f"{server.url}/health/live").status_code == 200


def test_trailers_are_dropped_and_limited(server: Server, digits: Dataset) -> None:
    head = "POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    content = png(digits.images[0])
    sent = head.encode() + b"%x\r\n%b\r\n0\r\n" % (len(content), content)
    for trailer in (
        b"Content-Encoding: gzip",
        b"X-Request-ID: trail",
        b"Host: evil.example",
        b"Content-Type: text/plain",
    ):
        with connection(server) as connected:
            connected.sendall(sent)
            httpx.get(f"{server.url}/health/live")
            connected.sendall(trailer + b"\r\n\r\n")
            received = answer(connected)
        assert received.startswith(b"HTTP/1.1 200"), trailer
        assert b"trail" not in received
    for endless in (b"T:\r\n" * 1_000_000, b"T: " + b"y" * 4_000_000):
        with connection(server) as connected:
            with suppress(OSError):  # it has heard enough
                connected.sendall(sent + endless)
            ((status, _, _),) = answers(rest(connected))
        assert status == 431
    with connection(server) as connected:  # a chunk for each byte is a body as any other
        connected.sendall(head.encode() + b"".join(b"1\r\n%c\r\n" % byte for byte in content) + b"0\r\n\r\n")
        assert answer(connected).startswith(b"HTTP/1.1 200")


def test_a_client_that_leaves_while_its_pipelined_requests_wait_leaves_no_traceback(tmp_path: Path) -> None:
    with running_server(tmp_path / "home", "--no-worker") as server:
        for count in (2, 3, 20):
            with connection(server) as connected:
                connected.sendall(b"GET /models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * count)
            assert httpx.get(f"{server.url}/models").status_code == 200
    assert "Traceback" not in server.output
    assert "without completing" not in server.output


def test_errors_of_the_connection_look_as_those_of_the_application_do(server: Server) -> None:
    lines = "Host: 127.0.0.1\r\nX-Request-ID: mine\r\nTransfer-Encoding: gzip\r\n\r\n"
    for target, kind in (("/predict", PROBLEM), ("/v2/models/mnist/infer", "application/json")):
        with connection(server) as connected:
            connected.sendall(f"POST {target} HTTP/1.1\r\n{lines}".encode())
            ((status, headers, body),) = answers(rest(connected))
        assert (status, headers["content-type"], headers["x-content-type-options"]) == (501, kind, "nosniff")
        assert headers["x-request-id"] == body["request_id"] == "mine"
        assert headers["date"].endswith("GMT")
