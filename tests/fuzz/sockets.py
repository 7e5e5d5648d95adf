"""Changed requests to a real server: whole, in pieces, pipelined, and by the way that knows no shortcut.

All must be answered alike. A request with `Content-Encoding: identity` means the same and is left to the application.
"""

import random
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.fuzz.messages import forms
from tests.fuzz.mutation import mutated
from tests.fuzz.pictures import jpegs, pngs
from tests.hostile.request import http
from tests.hostile.started import impatient_server

PATIENCE_SECONDS = 60.0
_BATCH, _AT_ONCE = 16, 4
_HEAD = b"POST /predict HTTP/1.1\r\n"
_HEADS = re.compile(rb"HTTP/1\.1 (\d{3}) .*?\r\n\r\n", re.DOTALL)
_CHANGING = re.compile(rb'"request_id":"[^"]*"|\d+\.\d+(?:e-\d+)?')  # the last digits depend on who else is in a batch
_TIMED = (b"408", b"503")  # what a busy machine may answer to one way and not to the other


def seeds() -> list[bytes]:
    """Good requests for the fast path, alone and pipelined."""
    form_type = "multipart/form-data; boundary=b"
    bodies = [(pngs()[0], "image/png"), (jpegs()[0], "image/jpeg"), *((body, form_type) for body in forms()[:2])]
    last = [http("/predict", body, kind) for body, kind in bodies]
    first = [message.replace(b"Connection: close\r\n", b"") for message in last]
    health = http("/health/live", b"", None, "GET")
    return [*last, first[0] + last[1], first[1] + health, first[0] + first[2] + first[0] + last[3]]


def ways(message: bytes, random_: random.Random) -> list[list[bytes]]:
    """Give the pieces of each way to send a message."""
    cuts = sorted(random_.randrange(len(message) + 1) for _ in range(random_.choice((1, 1, 2, 5))))
    pieces = [message[start:stop] for start, stop in zip([0, *cuts], [*cuts, None], strict=True)]
    return [[message], [piece for piece in pieces if piece], [message.replace(_HEAD, _HEAD + _SLOW_WAY)]]


_SLOW_WAY = b"Content-Encoding: identity\r\n"


def exchange(port: int, pieces: list[bytes]) -> bytes:
    """Send pieces over a connection of its own; give the statuses and bodies without what changes each time.

    The labels of an answer stand in the order of their probabilities, which tells pictures apart.

    Raises TimeoutError when the server neither answers nor closes.
    """
    answered = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.001)  # so that the server reads it by itself
            while content := connection.recv(65_536):
                answered += content
        except TimeoutError:
            raise
        except OSError:
            pass  # reset: what was answered before counts
    return _CHANGING.sub(b"", _HEADS.sub(rb"\n\1 ", bytes(answered)))


def complaint_about(port: int, message: bytes, random_: random.Random) -> str:
    """Send a message in all ways and say what is wrong; nothing when all is as it should be."""
    try:
        answers = [exchange(port, pieces) for pieces in ways(message, random_)]
    except TimeoutError:
        return "no answer"
    statuses = [re.findall(rb"(?m)^(\d{3}) ", answer) for answer in answers]
    if wrong := [status for found in statuses for status in found if status[:1] == b"5" and status != b"503"]:
        return f"answered with {wrong}"
    if any(status in _TIMED for found in statuses for status in found) or not all(statuses):
        return ""
    return "" if answers[0] == answers[1] == answers[2] else f"answered in different ways: {statuses}"


def run(port: int, seconds: float, seed: int) -> Iterator[tuple[bytes, str]]:
    """Send changed requests in batches for some time; give each with the complaint. Health must answer between."""
    random_, good, end = random.Random(seed), seeds(), time.monotonic() + seconds
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while time.monotonic() < end:
            batch = [mutated(good, random_) for _ in range(_BATCH)]
            yield from zip(
                batch, pool.map(lambda each: complaint_about(port, each, random.Random(seed)), batch), strict=True
            )
            answer = httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=PATIENCE_SECONDS)
            assert answer.status_code == 200, "health"


def run_sockets(seconds: float, seed: int, folder: Path) -> tuple[int, dict[str, bytes]]:
    """Run it against a server of its own; give the number of requests, and the smallest for each complaint."""
    found, executions = dict[str, bytes](), 0
    with tempfile.TemporaryDirectory() as home, impatient_server(Path(home, "home")) as server:
        for message, complaint in run(httpx.URL(server.url).port or 80, seconds, seed):
            executions += 1
            if complaint and len(message) < len(found.get(complaint, message + b" ")):
                found[complaint] = message
    if "Traceback" in server.output:
        found["the log has a traceback"] = b""
    for number, message in enumerate(found.values()):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.bin").write_bytes(message)
    return executions, found
