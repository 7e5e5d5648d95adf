"""Readers of requests and texts, held against httptools, Starlette's parser, json, zlib and base64."""

import asyncio
import base64
import binascii
import gzip
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httptools
import numpy as np
from fastapi import Request

from service.api.compression import decompress
from service.api.routes import image_payload
from service.errors import ServiceError
from service.inference.images import decode_base64
from service.json_objects import read_object
from service.server.request_parser import parse_fast_request
from service.settings import Settings
from tests.fuzz.pictures import LIMITS, must_be_the_callers, pngs
from tests.hostile.forms import form, part

_LIMIT = 65_536


def requests() -> list[bytes]:
    """Write requests as clients write them."""
    lines = b"Host: 127.0.0.1:8000\r\nContent-Type: image/png\r\nUser-Agent: curl/8\r\nAccept: */*\r\n"
    head = b"POST /predict HTTP/1.1\r\n" + lines
    return [
        head + b"Content-Length: 5\r\n\r\nhello",
        head + b"X-Request-ID: a b\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        head + b"Content-Length: 5\r\n\r\nhello" + head + b"Content-Length: 1\r\n\r\nx",
    ]


class _Heard:
    """What httptools tells of the messages on a connection."""

    def __init__(self) -> None:
        self.urls, self.headers, self.body, self.complete = [b""], list[tuple[bytes, bytes]](), b"", 0

    def on_url(self, url: bytes) -> None:
        self.urls[-1] += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


def check_request(content: bytes) -> None:
    """What the shortcut takes apart, httptools must take apart alike; it raises nothing."""
    found = parse_fast_request(content)
    if found is None:
        return
    heard = _Heard()
    parser = httptools.HttpRequestParser(heard)
    parser.feed_data(content)
    assert (parser.get_method(), heard.urls, heard.complete) == (b"POST", [b"/predict"], 1)
    assert (heard.headers, heard.body) == found
    assert parser.should_keep_alive()


def forms() -> list[bytes]:
    """Forms with one file and more, and with fields."""
    png = pngs()[0]
    field = part('form-data; name="label"', b"7")
    return [form(part(content=png)), form(part(content=png), field), form(*[part(content=png)] * 3), form(field)]


def check_form(content: bytes) -> None:
    """A form is read or refused; as many files are found as there are in the ordinary way."""
    for kind in (b"multipart/form-data; boundary=b", content[:40] if b"\r" not in content[:40] else b""):
        with suppress(ServiceError):
            files = asyncio.run(image_payload._files(_request(kind, content)))
            assert 1 <= len(files) <= content.count(b"\r\n\r\n")
            assert all(file in content for file in files)


def _request(kind: bytes, body: bytes) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", kind)]
    return Request({"type": "http", "app": None, "method": "POST", "path": "/", "headers": headers}, receive)


def base64_texts() -> list[bytes]:
    """Write a picture as browsers and command lines do."""
    content = pngs()[0]
    text = base64.b64encode(content)
    texts = [b"data:image/png;base64," + text, base64.encodebytes(content), base64.urlsafe_b64encode(content)]
    return [text, *texts, text.rstrip(b"=")]


def check_base64(content: bytes) -> None:
    """Strict base64 is decoded alike; anything else is decoded or ValueError."""
    try:
        expected: bytes | None = base64.b64decode(content, validate=True)
    except binascii.Error:
        expected = None
    try:
        found = decode_base64(content)
    except ValueError:
        assert expected is None
        return
    assert expected is None or found == expected
    assert decode_base64(content.decode("ascii", "ignore")) == found


def objects() -> list[bytes]:
    """Write objects as they are stored."""
    manifest = {"model": "mnist", "version": 1, "accuracy": 0.98, "labels": list("0123456789"), "more": {"a": [None]}}
    return [json.dumps(manifest).encode(), b'{"a": NaN, "b": 1e400, "c": "\\u00e9"}', b'{"a": ' * 30 + b"1" + b"}" * 30]


def check_object(content: bytes) -> None:
    """An object that is read is the one that json reads, and can be written again; else ValueError."""
    try:
        found = read_object(content)
    except ValueError:
        return
    written = json.dumps(found, allow_nan=False).encode()
    assert json.loads(written) == found
    known = json.loads(content, parse_constant=lambda _: None)
    if b"e" not in content.lower() and len(content) < 300:  # no float beyond the largest
        assert found == known


def predict_bodies() -> list[bytes]:
    """Write the JSON of `POST /predict`."""
    rows = [[0] * 28 for _ in range(28)]
    rows[10][5:20] = [255] * 15
    image = base64.b64encode(pngs()[0]).decode()
    bodies = ({"pixels": rows}, {"instances": [rows]}, {"image": image}, {"images": [image, image]})
    return [json.dumps(body).encode() for body in bodies]


class _Parts:
    image_limits = LIMITS
    settings = Settings()


def check_predict_json(content: bytes) -> None:
    """Each image of a body is a glyph or has an error of its own; the body is refused by errors of the service."""
    try:
        readers, _ = image_payload._json_readers(content, _Parts())  # type: ignore[arg-type]
    except ServiceError as error:
        must_be_the_callers(error)
        return
    json.loads(content)  # the ordinary reader takes it, too
    for reader in readers[:8]:
        try:
            found = reader()
            glyph = found if isinstance(found, np.ndarray) else found.to_glyph()
        except ServiceError as error:
            must_be_the_callers(error)
            continue
        assert glyph.shape == (28, 28)


def compressed_bodies() -> list[bytes]:
    """Compress a little and a lot, by both encodings."""
    return [pack(body) for pack in (gzip.compress, zlib.compress) for body in (b"", b"abc" * 99, bytes(200_000))]


def check_compressed(content: bytes) -> None:
    """What is decompressed is what zlib makes of it, and never more than the limit; else an error of the service."""
    ways: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress}
    for encoding, ordinary in ways.items():
        with suppress(ServiceError):
            found = decompress(content, encoding, _LIMIT)
            assert len(found) <= _LIMIT
            assert found == ordinary(content)
