"""The law of the fast path: it answers as the application would, or leaves the answer to the application."""

import asyncio
import io
import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from service.api.app import create_app
from service.inference.images import ImageLimits, open_image
from service.server import batches, fast_preprocess
from service.server.batches import FastRequest
from service.server.fast_decode import decode_fast_jpeg, decode_fast_png, to_array
from service.server.fast_path import FastPath
from service.server.fast_preprocess import extract_image
from service.settings import Settings
from tests.hostile.pictures import chunk as png_chunk
from tests.hostile.pictures import of_many_scans
from tests.service.conftest import PATIENCE_SECONDS, png
from training import Dataset


class Client:
    """Keeps what the fast path says to a connection."""

    def __init__(self) -> None:
        self.answer: tuple[dict[str, str], dict[str, Any]] | None = None
        self.handed_over = False

    def respond(self, head: bytes, body: bytes) -> None:
        lines = (line.partition(": ") for line in head.decode().split("\r\n"))
        self.answer = {name: value for name, _, value in lines}, json.loads(body)

    def fall_back(self, request: FastRequest) -> None:  # noqa: ARG002 -- the signature of a connection
        self.handed_over = True

    def abort(self) -> None:
        raise AssertionError("nothing here fails")


async def asked(fast_path: FastPath, *contents: tuple[bytes, str]) -> list[Client]:
    """Send requests that arrive in one turn of the event loop."""
    callers = []
    for content, kind in contents:
        client = Client()
        headers = [
            (b"host", b"localhost"),
            (b"content-type", kind.encode()),
            (b"content-length", str(len(content)).encode()),
        ]
        request = fast_path.try_accept(client, headers)
        if request is None:
            client.handed_over = True
        else:
            request.body = content
            fast_path.enqueue(request)
        callers.append(client)
    await asyncio.sleep(0)
    return callers


def form(content: bytes) -> tuple[bytes, str]:
    request = httpx.Request("POST", "http://service/predict", files={"file": ("digit.png", content, "image/png")})
    return request.read(), request.headers["content-type"]


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def fast_path(app: FastAPI) -> FastPath:
    return FastPath(app.state.services)


async def agree(fast_path: FastPath, client: httpx.AsyncClient, content: bytes, kind: str) -> Client:
    """Hold an answer of the fast path, if it gives one, against the application's."""
    (caller,) = await asked(fast_path, (content, kind))
    if caller.answer is not None:
        headers, body = caller.answer
        general = await client.post("/predict", content=content, headers={"content-type": kind})
        expected = general.json()
        assert general.status_code == 200, expected
        assert body | {"request_id": ""} == expected | {"request_id": ""}
        assert list(body["probabilities"]) == list(expected["probabilities"])
        assert headers["x-request-id"] == body["request_id"]
        assert all(general.headers[name] == headers[name] for name in ("content-type", "x-model-version"))
        assert {*headers, "content-length"} == set(general.headers)
    return caller


async def test_plain_pictures_are_answered_as_the_application_answers_them(
    fast_path: FastPath, client: httpx.AsyncClient, digits: Dataset
) -> None:
    for digit in digits.images[:20]:
        picture = Image.fromarray(digit)
        for content in (png(digit), saved(picture, "JPEG"), saved(picture.resize((64, 64)), "PNG")):
            assert (await agree(fast_path, client, content, "image/png")).answer
            assert (await agree(fast_path, client, *form(content))).answer


async def test_a_digit_that_does_not_fill_the_box_is_brought_into_form_first(
    fast_path: FastPath, client: httpx.AsyncClient, digits: Dataset
) -> None:
    for digit in digits.images[:20]:
        small = np.zeros((28, 28), np.uint8)
        small[3:17, 5:19] = np.asarray(Image.fromarray(digit).resize((14, 14)))
        assert (await agree(fast_path, client, png(small), "image/png")).answer


async def test_what_is_no_plain_case_is_left_to_the_application(
    fast_path: FastPath, client: httpx.AsyncClient, digits: Dataset
) -> None:
    digit = png(digits.images[0])
    multipart = "multipart/form-data; boundary=b"
    cases = [
        (digit[:100], "image/png"),
        (b"", "image/png"),
        (b"hello", "image/png"),
        (saved(Image.fromarray(digits.images[0]).resize((500, 500)), "PNG"), "image/png"),
        (json.dumps({"pixels": digits.images[0].tolist()}).encode(), "application/json"),
        (form(digit)[0], "multipart/form-data; boundary=other"),
        (b"--b--\r\n", multipart),
        (
            b'--b\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n' + digit + b"\r\n--b--",
            multipart,
        ),
        (digit + bytes(70_000), "image/png"),
        (b'--b\r\nContent-Disposition: form-data; name="FILE"; filename="a"\r\n\r\n' + digit + b"\r\n--b--", multipart),
    ]
    for content, kind in cases:
        assert (await agree(fast_path, client, content, kind)).handed_over, content[:80]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_a_damaged_request_is_never_answered_differently(
    data: st.DataObject, fast_path: FastPath, client: httpx.AsyncClient, digits: Dataset
) -> None:
    content, kind = data.draw(st.sampled_from([(png(digits.images[0]), "image/png"), form(png(digits.images[1]))]))
    broken = bytearray(content)
    for place in data.draw(st.lists(st.integers(0, len(broken) - 1), max_size=3)):
        broken[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(broken)) | st.just(len(broken)))
    await agree(fast_path, client, bytes(broken[:end]), kind)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_plain_picture_is_decoded_as_images_are_or_not_at_all(data: st.DataObject, digits: Dataset) -> None:
    kind, read = data.draw(st.sampled_from([("PNG", decode_fast_png), ("JPEG", decode_fast_jpeg)]))
    size = data.draw(st.sampled_from([(28, 28), (1, 1), (40, 56), (113, 9), (281, 300)]))
    picture = Image.fromarray(digits.images[data.draw(st.integers(0, 99))]).resize(size)
    if kind == "JPEG" and data.draw(st.booleans()):
        picture = Image.merge("RGB", (picture, picture.rotate(90).resize(size), picture))
    options = data.draw(st.sampled_from([{}, {"progressive": True}, {"optimize": True}])) if kind == "JPEG" else {}
    content = bytearray(saved(picture, kind, **options))
    np.testing.assert_array_equal(to_array(read(bytes(content), 100_000, 300)), decoded(content))
    assert read(bytes(content), size[0] * size[1] - 1, 300) is None
    assert read(bytes(content), 100_000, max(size) - 1) is None
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    gray = read(bytes(content), 100_000, 300)
    if gray is not None:
        np.testing.assert_array_equal(to_array(gray), decoded(content))


def decoded(content: bytes | bytearray) -> Any:
    return open_image(bytes(content), ImageLimits(10**6, 10**6, 10**4)).to_grayscale()


def test_a_png_with_a_wrong_checksum_is_no_plain_one(digits: Dataset) -> None:
    whole = png(digits.images[0])
    assert decode_fast_png(whole, 1000, 28)
    for chunk in (b"IHDR", b"IDAT"):
        length = int.from_bytes(whole[whole.index(chunk) - 4 : whole.index(chunk)], "big")
        place = whole.index(chunk) + 4 + length  # of the checksum, whose data decode as well as before
        for byte in range(4):
            changed = bytearray(whole)
            changed[place + byte] ^= 1
            assert decode_fast_png(bytes(changed), 1000, 28) is None, (chunk, byte)


def test_a_jpeg_with_notes_on_it_is_no_plain_one(digits: Dataset) -> None:
    picture = Image.fromarray(digits.images[0])
    turned = Image.Exif()
    turned[0x0112] = 6
    assert decode_fast_jpeg(saved(picture, "JPEG", exif=turned.tobytes()), 10_000, 4096) is None
    assert decode_fast_jpeg(saved(picture.convert("CMYK"), "JPEG"), 10_000, 4096) is None


async def test_what_arrives_together_is_answered_together_each_by_its_own_image(
    fast_path: FastPath, client: httpx.AsyncClient, digits: Dataset
) -> None:
    contents = [(png(digit), "image/png") for digit in digits.images[:40]]
    contents[7] = (b"broken", "image/png")
    callers = await asked(fast_path, *contents)
    assert [client.handed_over for client in callers] == [place == 7 for place in range(40)]
    for (content, kind), caller in zip(contents, callers, strict=True):
        if caller.answer:
            alone = (await client.post("/predict", content=content, headers={"content-type": kind})).json()
            assert caller.answer[1]["label"] == alone["label"]
            # BLAS adds in another order for large batches: the last bit of a float32 may differ.
            assert caller.answer[1]["confidence"] == pytest.approx(alone["confidence"], rel=1e-5)


async def test_of_pictures_that_arrive_together_one_that_raises_takes_no_other_along(
    fast_path: FastPath, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [png(digit) for digit in digits.images[:5]]

    def read(content: bytes, max_pixels: int, max_side: int) -> Any:
        return 1 // 0 if content == contents[2] else decode_fast_png(content, max_pixels, max_side)

    monkeypatch.setattr(fast_preprocess, "decode_fast_png", read)
    callers = await asked(fast_path, *((content, "image/png") for content in contents))
    assert [client.handed_over for client in callers] == [False, False, True, False, False]
    assert all(client.answer for client in callers if not client.handed_over)


async def test_requests_with_anything_unusual_about_them_are_the_applications(fast_path: FastPath) -> None:
    usual = [(b"host", b"localhost"), (b"content-type", b"image/png"), (b"content-length", b"10")]
    assert fast_path.try_accept(Client(), usual)
    for unusual in (
        [(b"transfer-encoding", b"chunked")],
        [(b"content-encoding", b"gzip")],
        [(b"content-type", b"image/jpeg")],
    ):
        assert fast_path.try_accept(Client(), usual + unusual) is None
    assert fast_path.try_accept(Client(), usual[:2]) is None


def test_a_form_with_more_than_one_part_is_the_applications() -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    kind = b"multipart/form-data; boundary=b"
    assert extract_image(kind, head + b"one\r\n--\r\n--b--\r\n") == b"one\r\n--"
    assert extract_image(kind, head + b"one\r\n" + head + b"two\r\n--b--\r\n") is None
    assert extract_image(kind, head + b"one\r\n--b--\r\nepilogue") is None


@pytest.mark.parametrize("limit", ["scans", "side", "segments"])
def test_what_takes_long_for_its_size_is_no_plain_picture(limit: str, digits: Dataset) -> None:
    size = (65_500, 1) if limit == "side" else (28, 28)
    picture = Image.fromarray(digits.images[0]).resize(size)
    content = saved(picture, "JPEG", progressive=limit == "scans")
    assert decode_fast_jpeg(content, 100_000, size[0]) is not None
    if limit == "scans":
        content = of_many_scans(content, 17)
    if limit == "segments":
        content = content[:2] + b"\xff\xfe\0\2" * 64 + content[2:]
    assert decode_fast_jpeg(content, 100_000, 4096) is None


async def test_what_may_take_long_to_open_is_the_applications(fast_path: FastPath, digits: Dataset) -> None:
    content = saved(Image.fromarray(digits.images[0]).convert("RGB"), "PNG")
    notes = png_chunk(b"tEXt", b"a\0" + bytes(60)) * 300
    short, long = await asked(fast_path, (content, "image/png"), (content[:33] + notes + content[33:], "image/png"))
    assert short.answer is not None
    assert long.answer is None


async def test_what_waits_for_a_large_network_is_read_together_and_has_a_limit(
    tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, go_on, sizes = create_app(Settings(home=tmp_path, model="accurate")), threading.Event(), list[int]()
    content, compute = png(digits.images[0]), batches.compute

    def computed_late(batch: batches.Batch) -> batches.BatchResult:
        assert go_on.wait(PATIENCE_SECONDS)
        sizes.append(len(batch.requests))
        return compute(batch)

    monkeypatch.setattr(batches, "compute", computed_late)
    monkeypatch.setattr(batches, "_MAX_QUEUED_IMAGES", 100)
    async with app.router.lifespan_context(app):
        fast_path = FastPath(app.state.services)
        callers = [client for _ in range(110) for client in await asked(fast_path, (content, "image/png"))]
        assert [client.handed_over for client in callers] == [False] * 101 + [True] * 9
        assert not any(client.answer for client in callers)
        go_on.set()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not all(client.answer for client in callers[:101]):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert not any(client.answer for client in callers[101:])
        assert sizes == [1, 64, 36]
