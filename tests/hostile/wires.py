"""What is hardly HTTP: request lines, targets, headers, lengths and chunks, written by hand."""

from collections.abc import Iterator

from tests.hostile.pictures import digit, encoded
from tests.hostile.request import CLOSED, Hostile, http

_IMAGE = encoded(digit())
_HOST = b"Host: 127.0.0.1\r\n"
_LAST = b"Connection: close\r\n\r\n"
BAD = frozenset({400, CLOSED})
_ANY = frozenset(
    {200, 204, 304, 307, 400, 401, 404, 405, 406, 408, 412, 413, 415, 416, 417, 421, 422, 426, 431, CLOSED}
)


def wires() -> Iterator[Hostile]:
    """All of them."""
    yield from _lines()
    yield from _targets()
    yield from _headers()
    yield from _lengths()
    yield from _queries()


def _lines() -> Iterator[Hostile]:
    for name, line in {
        "nothing but blanks": b"          ",
        "no version": b"GET /health/live",
        "version 0.9": b"GET /health/live HTTP/0.9",
        "version 2.0": b"GET /health/live HTTP/2.0",
        "version 9.9": b"GET /health/live HTTP/9.9",
        "version of letters": b"GET /health/live HTTP/a.b",
        "another protocol": b"GET /health/live ICY/1.0",
        "small letters": b"get /health/live HTTP/1.1",
        "no method": b" /health/live HTTP/1.1",
        "an unknown method": b"HACK /health/live HTTP/1.1",
        "a method of bytes": b"\xff\xfe /health/live HTTP/1.1",
        "a method of 10 kB": b"A" * 10_000 + b" / HTTP/1.1",
        "a tab": b"GET\t/health/live\tHTTP/1.1",
        "two blanks": b"GET  /health/live  HTTP/1.1",
        "a zero byte": b"GET /health\0/live HTTP/1.1",
        "a newline in the target": b"GET /health\n/live HTTP/1.1",
        "a return in the target": b"GET /health\r/live HTTP/1.1",
        "an answer": b"HTTP/1.1 200 OK",
    }.items():
        yield Hostile(f"request line: {name}", line + b"\r\n" + _HOST + _LAST, _ANY)
    for name, sent in {
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(500),
        "SSH": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        "SMTP": b"EHLO example.org\r\nMAIL FROM:<a@b>\r\n",
        "Redis": b"*1\r\n$4\r\nPING\r\n",
        "a pickle": b"cos\nsystem\n(S'id'\ntR.\r\n\r\n",
        "a proxy's greeting": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\n\r\n",
        "SOCKS": b"\x05\x01\x00\r\n\r\n",
        "garbage": bytes(range(256)) * 10 + b"\r\n\r\n",
        "0xff": b"\xff" * 100_000,
        "zeros": bytes(100_000),
    }.items():
        yield Hostile(f"speaks {name}", sent, BAD)


def _targets() -> Iterator[Hostile]:
    for target in (
        *("*", "//", "///", "/..", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/.%00", "/%00", "/%", "/%zz"),
        *("/%ff", "/%c0%af", "/\xff", "/\\..\\", "/;a=b", "/?", "/??", "/#x", "/?#", "/predict/", "/PREDICT"),
        *("http://127.0.0.1/health/live", "http://evil.example/health/live", "http://", "http://[", "http://[::1"),
        *("http://a:99999999/", "http://a:b@c/", "127.0.0.1:80", "file:///etc/passwd", "javascript:alert(1)"),
        *(
            "/docs/static/../../../etc/passwd",
            "/docs/static/%2e%2e/%2e%2e/__init__.py",
            "/docs/static/%00",
            "/docs/static/",
        ),
        *("/docs/static/" + "a" * 300, "/docs/static/swagger-ui.css/x", "/docs/static/..%5c..%5cx", "/docs/static/%ff"),
        *("/models/..", "/models/%2e%2e%2fx", "/models/%00", "/models/\xff", "/models/" + "a" * 5000, "/models/MNIST"),
        *("/models/mnist/versions/0", "/models/mnist/versions/" + "9" * 30, "/models/mnist/versions/-1"),
        *("/models/mnist/versions/1/..", "/models/mnist/versions/1/%2e%2e%2fmanifest.json", "/models/mnist/versions/a"),
        *("/models/mnist/versions/1/manifest.json", "/models/mnist/versions/1/.md", "/models/mnist/versions/1/%00.md"),
        *("/models/mnist/aliases/%2e%2e", "/models/mnist/aliases/x/history", "/models/mnist/aliases/%00/history"),
        *("/train/nobody", "/train/%00", "/train/..", "/train/" + "a" * 5000, "/train/%ff%fe", "/train/nobody/events"),
        *("/train/' OR 1=1--", "/train/%27%20OR%201%3D1--", "/train/job-0/events", "/train/recipes/x"),
        *("/samples/nobody", "/samples/" + "0" * 32, "/samples/%2e%2e", "/samples/" + "0" * 32 + "/picture.png"),
        *("/v2/models/%00", "/v2/models/a%0ab/ready", "/v2/models/mnist/versions/1/x", "/v1/models/mnist:hack"),
        *("/v1/models/:predict", "/v1/models/mnist:predict:predict", "/v1/models/%3apredict", "/v2/health/dead"),
        *("/" + "a" * 20_000, "/" + "/" * 20_000, "/" + "%41" * 5000, "/metrics/x", "/openapi.json/x", "/.git/config"),
    ):
        line = b"GET " + target.encode("latin-1") + b" HTTP/1.1\r\n"
        yield Hostile(f"target {target[:60]!r}, {len(target)} long", line + _HOST + _LAST, _ANY)
    for method in ("HEAD", "OPTIONS", "TRACE", "CONNECT", "PATCH", "PROPFIND", "DELETE", "PUT", "GET", "POST"):
        for target in ("/predict", "/health/live", "/metrics", "/models", "/docs/static/swagger-ui.css", "/nothing"):
            allowed = frozenset({501}) if method == "CONNECT" else _ANY
            yield Hostile(f"{method} {target}", http(target, b"", None, method), allowed)


def _headers() -> Iterator[Hostile]:
    for name, lines in {
        "no host": b"",
        "an empty host": b"Host:\r\n",
        "another host": b"Host: evil.example\r\n",
        "two hosts": _HOST + b"Host: evil.example\r\n",
        "a host of bytes": b"Host: \xff\xfe\r\n",
        "a host of 10 kB": b"Host: " + b"a" * 10_000 + b"\r\n",
        "a host of brackets": b"Host: [[[]:::\r\n",
        "a header without a colon": _HOST + b"hello\r\n",
        "a header without a name": _HOST + b": x\r\n",
        "a blank before the colon": _HOST + b"X : y\r\n",
        "a folded header": _HOST + b"X: a\r\n b\r\n",
        "a header of bytes": _HOST + b"\xff: \xff\r\n",
        "a zero byte": _HOST + b"X: a\0b\r\n",
        "a return alone": _HOST + b"X: a\rY: b\r\n",
        "line feeds alone": _HOST.replace(b"\r\n", b"\n") + b"X: y\n",
        "1,000 headers": _HOST + b"".join(b"X-%d: y\r\n" % number for number in range(1000)),
        "20,000 headers": _HOST + b"".join(b"X-%d: y\r\n" % number for number in range(20_000)),
        "a header of 60 kB": _HOST + b"X: " + b"a" * 60_000 + b"\r\n",
        "a header of 5 MB": _HOST + b"X: " + b"a" * 5_000_000 + b"\r\n",
        "a cookie of 50 kB": _HOST + b"Cookie: " + b"a=b; " * 10_000 + b"\r\n",
        "an upgrade to h2c": _HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n",
        "an upgrade to WebSocket": _HOST
        + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AA==\r\n",
        "an expectation of nobody": _HOST + b"Expect: the-unexpected\r\n",
        "a request id of lines": _HOST + b"X-Request-ID: a\r\n\tb\r\n",
        "a request id of a script": _HOST + b"X-Request-ID: <script>\r\n",
        "a request id of 10 kB": _HOST + b"X-Request-ID: " + b"a" * 10_000 + b"\r\n",
        "a trace of nobody": _HOST + b"traceparent: 00-zz-zz-zz\r\ntracestate: \xff\r\n",
        "an origin": _HOST + b"Origin: http://evil.example\r\n",
        "an authorization of bytes": _HOST + b"Authorization: Bearer \xff\xfe\r\n",
        "an authorization of 50 kB": _HOST + b"Authorization: Bearer " + b"a" * 50_000 + b"\r\n",
        "a forwarded address": _HOST + b"X-Forwarded-For: ::1\r\nForwarded: for=\xff\r\nX-Forwarded-Proto: \xff\r\n",
        "a range": _HOST + b"Range: bytes=-99999999999999999999,5-1\r\n",
        "a date": _HOST + b"If-Modified-Since: the day before\r\n",
        "an acceptance of nothing": _HOST + b"Accept: \xff/\xff;q=x\r\n",
        "another method": _HOST + b"X-HTTP-Method-Override: DELETE\r\n",
    }.items():
        for target in (b"/health/live", b"/docs/static/swagger-ui.css"):
            sent = b"GET " + target + b" HTTP/1.1\r\n" + lines + _LAST
            yield Hostile(f"{name} to {target.decode()}", sent, _ANY)
    for value in ('"', "W/", '"-1"', "99999999999999999999", "*", "\xff", '"1", "2"', "'1'", "0x1", "\u00b2"):
        sent = http(
            "/models/mnist/aliases/production", b'{"version": 1}', "application/json", "PUT", f"If-Match: {value}"
        )
        yield Hostile(f"If-Match of {value!r}", sent, frozenset({200, 412, 422}))
    for value in ("", " ", "a" * 256, "\xff", "../..", "a" * 50_000):
        sent = http("/train", b'{"recipe": "nobody"}', "application/json", "POST", f"Idempotency-Key: {value}")
        yield Hostile(f"Idempotency-Key of {value[:10]!r}, {len(value)} long", sent, frozenset({422}))


def _lengths() -> Iterator[Hostile]:
    start = b"POST /predict HTTP/1.1\r\n" + _HOST + b"Content-Type: image/png\r\n"
    for value in (b"-1", b"+5", b"0x10", b"1e3", b"5 5", b"5,5", b"", b"a", b"9" * 30, b"\xff", b"1.0", b" 5\t"):
        sent = start + b"Content-Length: " + value + b"\r\n" + _LAST + b"hello"
        yield Hostile(f"length of {value!r}", sent, frozenset({400, 413, 415, CLOSED}))
    for name, lines, body in (
        ("two lengths", b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!"),
        ("the same length twice", b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"),
        ("a length and chunks", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        ("chunks and a length", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"),
        ("chunks of another kind", b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
        ("chunks of no kind", b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
        ("chunks that are not last", b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
        ("chunks twice", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        ("chunks in disguise", b"Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n"),
    ):
        yield Hostile(name, start + lines + _LAST + body, frozenset({400, 415, 422, 501, CLOSED}))
    chunked = start + b"Transfer-Encoding: chunked\r\n" + _LAST
    for name, body in {
        "of nothing": b"0\r\n\r\n",
        "of a size below 0": b"-1\r\nx\r\n0\r\n\r\n",
        "of a size of letters": b"xyz\r\nx\r\n0\r\n\r\n",
        "of 2⁶⁴ bytes": b"FFFFFFFFFFFFFFFFF\r\nx",
        "of a wrong size": b"2\r\nhello\r\n0\r\n\r\n",
        "without an end of line": b"5hello0\r\n\r\n",
        "with line feeds": b"5\nhello\n0\n\n",
        "of 10,000 single bytes": b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n",
        "with an extension": b"5;a=b\r\nhello\r\n0\r\n\r\n",
        "with an extension of 200 kB": b"5;" + b"a" * 200_000 + b"\r\nhello\r\n0\r\n\r\n",
        "with a trailer": b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        "with a trailer of a length": b"5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n",
        "with trailers of 200 kB": b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 30_000 + b"\r\n",
        "of 9 MB": b"900000\r\n" + bytes(0x900000) + b"\r\n0\r\n\r\n",
    }.items():
        yield Hostile(f"chunks {name}", chunked + body, frozenset({400, 408, 413, 415, 422, 431, CLOSED}))
    for name, sent in {
        "a body that does not come": start + b"Content-Length: 50\r\n" + _LAST + b"hello",
        "a chunk that does not come": chunked + b"5\r\nhel",
        "the last chunk does not come": chunked + b"5\r\nhello\r\n",
        "headers without an end": start,
        "half a request line": b"POST /pre",
        "a line feed and silence": b"\n",
    }.items():
        yield Hostile(name, sent, frozenset({408, CLOSED}), waits=True)
    huge = http("/predict", bytes(9_000_000), "image/png")
    yield Hostile("a body of 9 MB", huge, frozenset({413}))
    yield Hostile("a promise of 9 TB", start + b"Content-Length: 9000000000000\r\n" + _LAST, frozenset({413}))
    yield Hostile("a body of 70 kB to /train", http("/train", b" " * 70_000), frozenset({413}))
    yield Hostile("a body for GET", http("/health/live", b"x" * 1000, "image/png", "GET"), frozenset({200, 400}))
    yield Hostile(
        "garbage behind a request", http("/predict", _IMAGE, "image/png") + b"garbage\r\n\r\n", frozenset({200})
    )


def _queries() -> Iterator[Hostile]:
    for query in (
        *("top_k=0", "top_k=-1", "top_k=1e9", "top_k=99999999999999999999", "top_k=a", "top_k=", "top_k=1&top_k=2"),
        *(
            "version=0",
            "version=99",
            "version=-1",
            "version=2147483648",
            "version=1.0",
            "version=%00",
            "version=\u00b2",
        ),
        *("model=", "model=nobody", "model=..", "model=%2e%2e%2f", "model=%00", "model=%ff", "model=" + "a" * 5000),
        *("alias=", "alias=nobody", "alias=../x", "alias=%0d%0aX:y", "explain=maybe", "explain=", "explain=2"),
        *(
            "&" * 5000,
            "a=b&" * 5000,
            "%",
            "%zz",
            "=",
            "===",
            "[]=1",
            "top_k[]=1",
            "top_k%00=1",
            "unknown=1",
            "\xff=\xff",
        ),
    ):
        sent = http(f"/predict?{query}", _IMAGE, "image/png")
        yield Hostile(f"query {query[:40]!r}, {len(query)} long", sent, frozenset({200, 400, 404, 422}))
    for query in (
        *("limit=0", "limit=1001", "limit=a", "after=%00", "after=" + "a" * 100, "label=%ff", "model=..", "model=%0a"),
        *("label=" + "a" * 100, "after=\xff", "model=mnist%0a", "limit=1e3"),
    ):
        sent = http(f"/samples?{query}", b"", None, "GET")
        yield Hostile(f"samples by {query[:40]!r}", sent, frozenset({200, 400, 422}))
    for query in ("", "older_than_days=-1", "older_than_days=nan", "older_than_days=inf", "older_than_days=1e308"):
        yield Hostile(f"delete samples by {query!r}", http(f"/samples?{query}", b"", None, "DELETE"), frozenset({422}))
