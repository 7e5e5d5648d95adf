"""The law of the fast path over sockets: whatever is sent, it is answered as the application answers it.

Each conversation is held twice: as it is, and with an `Origin` in each request, which sends it to the application.
"""

import itertools
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.service.conftest import Server, png, running_server
from tests.service.test_fast_path import form, saved
from training import Dataset

UNUSUAL = "Origin: http://127.0.0.1"
HEADERS = (
    "Expect: 100-continue",
    "X-Request-ID: mine",
    "X-Request-ID: not an id",
    "Authorization: Bearer nobody",
    "Host: elsewhere.example",
    "Content-Encoding: gzip",
    "Content-Length: 3",
    "Transfer-Encoding: chunked",
    "Upgrade: websocket",
    "X-Long: " + "a" * 5000,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("law") / "home", "--no-worker") as server:
        yield server


@dataclass(frozen=True)
class Request:
    """One request, complete but for the connection's end."""

    start: str
    headers: tuple[str, ...]
    body: bytes

    def to_bytes(self, *more: str) -> bytes:
        return "\r\n".join([self.start, "Host: 127.0.0.1", *more, *self.headers, "", ""]).encode() + self.body


def glyphs(digits: Dataset) -> st.SearchStrategy[Any]:
    """Draw 28×28 pictures: digits, digits moved, shrunk or faint, and spots, with an empty border or none."""

    def changed(place: int, side: int, right: float, down: float, faint: int) -> Any:
        picture = np.asarray(Image.fromarray(digits.images[place]).resize((side, side))) // faint
        moved = np.zeros((28, 28), np.uint8)
        top, left = round(down * (28 - side)), round(right * (28 - side))
        moved[top : top + side, left : left + side] = picture
        return moved

    def spotted(spots: list[tuple[int, int, int]]) -> Any:
        picture = np.zeros((28, 28), np.uint8)
        for row, column, shade in spots:
            picture[row, column] = shade
        return picture

    inner, edge = st.integers(1, 26), st.integers(0, 27)
    return (
        st.integers(0, 99).map(lambda place: digits.images[place])
        | st.builds(
            changed, st.integers(0, 99), st.integers(5, 27), st.floats(0, 1), st.floats(0, 1), st.integers(1, 9)
        )
        | st.lists(st.tuples(inner, inner, st.integers(0, 255)), max_size=9).map(spotted)
        | st.lists(st.tuples(edge, edge, st.integers(0, 255)), max_size=9).map(spotted)
        | st.integers(0, 99).map(lambda place: 255 - digits.images[place])
    )


def contents(digits: Dataset) -> st.SearchStrategy[bytes]:
    """Draw files: pictures in several encodings, pieces of them, and what is no picture."""
    pictures = glyphs(digits).map(Image.fromarray)
    whole = (
        pictures.map(lambda picture: png(np.asarray(picture)))
        | pictures.map(lambda picture: saved(picture, "JPEG"))
        | pictures.map(lambda picture: saved(picture.convert("RGB"), "PNG"))
        | pictures.map(lambda picture: saved(picture.resize((60, 50)), "PNG", compress_level=1))
    )
    return (
        whole
        | st.builds(lambda content, end: content[:end], whole, st.integers(0, 400))
        | st.builds(
            lambda content, more: content + more, whole, st.binary(min_size=1, max_size=9) | st.just(bytes(70_000))
        )
        | st.binary(max_size=20)
    )


@st.composite
def requests(draw: st.DrawFn, digits: Dataset) -> Request:
    content = draw(contents(digits))
    body, kind = draw(
        st.sampled_from(
            [
                (content, "image/png"),
                form(content),
                (content, "application/octet-stream"),
                (form(content)[0], "multipart/form-data; boundary=other"),
                (form(content)[0].replace(b'name="file"', b'name="image"'), form(content)[1]),
            ]
        )
    )
    method = draw(st.sampled_from(["POST"] * 8 + ["GET", "HEAD", "PUT"]))
    target = draw(st.sampled_from(["/predict"] * 8 + ["/predict?top_k=3", "/predict?", "/%70redict", "/health/live"]))
    headers = [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    extra = draw(st.lists(st.sampled_from(HEADERS), max_size=1))
    if "Transfer-Encoding: chunked" in extra:
        headers, body = headers[:1], b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    return Request(f"{method} {target} HTTP/1.1", (*headers, *extra), body)


def said(server: Server, pieces: list[bytes]) -> list[tuple[bytes, ...]]:
    """Send pieces and take the answers apart, without what differs from one answer to the next."""
    url, received = httpx.URL(server.url), b""
    with socket.create_connection((url.host, url.port or 80), timeout=60) as connected:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            try:
                connected.sendall(piece)
            except OSError:  # it has heard enough
                break
        while piece := connected.recv(65_536):
            received += piece
    received = re.sub(rb"\b[0-9a-f]{32}\b", b"<id>", received)
    received = re.sub(rb"\r\ndate: [^\r]+", b"", received)
    answers = []
    for answer in received.split(b"HTTP/1.1 ")[1:]:
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        answers.append((status, *sorted(lines), body))
    return answers


def pieces_of(sent: bytes, cuts: list[float]) -> list[bytes]:
    places = [0, *sorted(round(cut * len(sent)) for cut in cuts), len(sent)]
    return [sent[start:stop] for start, stop in itertools.pairwise(places)]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_conversation_goes_as_it_would_with_the_application_alone(
    data: st.DataObject, server: Server, digits: Dataset
) -> None:
    conversation = data.draw(st.lists(requests(digits), min_size=1, max_size=4))
    *first, last = conversation
    cuts = data.draw(st.lists(st.floats(0, 1), max_size=4))
    asked = [
        b"".join([*(each.to_bytes(*more) for each in first), last.to_bytes("Connection: close", *more)])
        for more in ((), (UNUSUAL,))
    ]
    fast, general = (said(server, pieces_of(sent, cuts)) for sent in asked)
    assert fast == general
    assert fast


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_picture_is_answered_as_the_application_answers_it(
    data: st.DataObject, server: Server, digits: Dataset
) -> None:
    content = data.draw(contents(digits))
    answers = []
    for query in ("", "?"):
        body, kind = form(content) if data.draw(st.booleans()) else (content, "image/png")
        answer = server.http.post(f"/predict{query}", content=body, headers={"Content-Type": kind})
        answers.append((answer.status_code, answer.json() | {"request_id": ""}))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
@pytest.mark.parametrize("length", [[], ["Content-Length: 1", "Content-Length: 2"], ["Content-Length: 100"]])
def test_odd_lengths_and_old_versions_are_answered_alike(
    version: str, length: list[str], server: Server, digits: Dataset
) -> None:
    content = png(digits.images[0])
    lengths = length or [f"Content-Length: {len(content)}"]
    answers = []
    for more in ([], [UNUSUAL]):
        lines = [f"POST /predict {version}", "Host: 127.0.0.1", "Content-Type: image/png", "Connection: close"]
        answers.append(said(server, ["\r\n".join([*lines, *lengths, *more, "", ""]).encode() + content]))
    assert answers[0] == answers[1]
    assert answers[0]
