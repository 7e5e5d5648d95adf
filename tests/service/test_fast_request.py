"""The shortcut past HTTP's parser: it reads what the parser would have read, or nothing."""

from typing import Any

import httptools
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.server.request_parser import parse_fast_request

START = "POST /predict HTTP/1.1"
USUAL = ("Host: here", "Content-Type: image/png", "Content-Length: 4")
ODD = (
    "Connection: close",
    "Connection: keep-alive",
    "Transfer-Encoding: chunked",
    "Upgrade: websocket",
    "Expect: 100-continue",
    "Content-Length: 4",
    "Content-Length: +4",
    "Content-Length: 5",
    "Content-Length:4",
    "CONTENT-LENGTH: 4",
    "X-Empty:",
    "X-Empty: ",
    "X-Colon: a: b",
    "X-Spaces:  two  ",
    "X-Tab:\tone",
    "X-Folded: one\r\n two",
    "X-Bare: one\rtwo",
    "X-Sign: ä",
    "X Space: one",
    "X-Before : one",
    "X_Under: one",
    ": nameless",
    "no header",
    "",
)


class Recorder:
    """Keeps what the parser calls back with."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    def on_message_begin(self) -> None:
        self.requests.append({"url": b"", "headers": [], "body": b"", "complete": False})

    def on_url(self, url: bytes) -> None:
        self.requests[-1]["url"] += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.requests[-1]["headers"].append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.requests[-1]["body"] += body

    def on_message_complete(self) -> None:
        self.requests[-1]["complete"] = True


def parsed(data: bytes) -> tuple[Any, Any, list[dict[str, Any]]]:
    recorder = Recorder()
    parser = httptools.HttpRequestParser(recorder)
    parser.feed_data(data)
    return parser.get_method(), parser.get_http_version(), recorder.requests


@settings(max_examples=1000, deadline=None)
@given(
    start=st.sampled_from([START] * 9 + ["GET /predict HTTP/1.1", "POST /predict HTTP/1.0", "POST /predict  HTTP/1.1"]),
    headers=st.permutations(USUAL).flatmap(
        lambda usual: st.lists(st.sampled_from(ODD), max_size=2).map(lambda odd: [*odd, *usual])
    ),
    ends=st.sampled_from(["\r\n"] * 5 + ["\n", "\r"]),
    body=st.binary(max_size=6) | st.just(b"four"),
)
@example(start=START, headers=list(USUAL), ends="\r\n", body=b"four")
def test_what_it_reads_is_what_the_parser_reads(start: str, headers: list[str], ends: str, body: bytes) -> None:
    data = ends.join([start, *headers, "", ""]).encode() + body
    found = parse_fast_request(data)
    if found is not None:
        method, version, requests = parsed(data)
        assert (method, version, len(requests)) == (b"POST", "1.1", 1)
        assert requests[0] == {"url": b"/predict", "headers": found[0], "body": found[1], "complete": True}


def test_a_usual_request_is_taken_and_odd_ones_are_left() -> None:
    def data(*headers: str, body: bytes = b"four") -> bytes:
        return "\r\n".join([START, *headers, "", ""]).encode() + body

    headers = [(b"host", b"here"), (b"content-type", b"image/png"), (b"content-length", b"4")]
    for _ in range(2):
        assert parse_fast_request(data(*USUAL)) == (headers, b"four")
    assert parse_fast_request(data(*USUAL, "X-Colon: a: b")) == ([*headers, (b"x-colon", b"a: b")], b"four")
    assert parse_fast_request(data("Connection: keep-alive", *USUAL))
    for odd in ODD:
        if odd not in ("X-Colon: a: b", "Connection: keep-alive"):
            assert parse_fast_request(data(*USUAL, odd)) is None, odd
    assert parse_fast_request(data(*USUAL, body=b"thr")) is None
    assert parse_fast_request(data(*USUAL, body=b"fives")) is None
    assert parse_fast_request(data(*USUAL, "X-Long: " + "a" * 2000)) is None
    assert parse_fast_request(b"") is None
