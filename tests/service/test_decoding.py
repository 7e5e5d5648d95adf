"""Pictures are decoded in time or not at all: what cannot be done is refused, what nobody waits for is dropped."""

import asyncio
import base64
import io
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from service.errors import Unavailable
from service.inference.decoding import Decoder
from tests.service.conftest import Server, png, running_server, wait_until
from training import Dataset

HOUR = 3600.0
FOUR_MEGAPIXELS = 4_000_000


@pytest.fixture(scope="module")
def large(digits: Dataset) -> bytes:
    """A digit of 4 megapixels in some kilobytes."""
    file = io.BytesIO()
    Image.fromarray(digits.images[0]).resize((2000, 2000), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def files(picture: bytes, count: int) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", ("x.png", picture))] * count


def values(server: Server) -> dict[str, float]:
    lines = server.http.get("/metrics").text.splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith("glyphserve_images_deco")}


def is_idle(server: Server) -> bool:
    return values(server)["glyphserve_images_decoding"] == 0


async def held(decoder: Decoder, gate: threading.Event, begun: list[int], count: int) -> "asyncio.Task[list[int]]":
    """Let a request hold the decoder's threads until the gate opens."""

    def work(number: int) -> int:
        begun.append(number)
        gate.wait()
        return number

    deadline = asyncio.get_running_loop().time() + HOUR
    pictures = [(1, partial(work, number)) for number in range(count)]
    task = asyncio.create_task(decoder.decode(pictures, deadline))
    while not begun:
        await asyncio.sleep(0.001)
    return task


async def test_pictures_come_back_in_their_order_whatever_takes_how_long() -> None:
    decoder = Decoder(3)

    def work(number: int) -> int:
        time.sleep(0.01 * (number % 3))
        return number

    deadline = asyncio.get_running_loop().time() + HOUR
    assert await decoder.decode([(1, partial(work, n)) for n in range(20)], deadline) == [*range(20)]
    assert (decoder.decoded, decoder.waiting) == (20, 0)
    decoder.close()


async def test_what_nobody_waits_for_any_more_is_never_begun() -> None:
    decoder, gate, begun = Decoder(1), threading.Event(), list[int]()
    task = await held(decoder, gate, begun, 10)
    assert decoder.waiting == 10
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    deadline = asyncio.get_running_loop().time() + HOUR
    assert await decoder.decode([(1, lambda: 1), (1, lambda: 2)], deadline) == [1, 2]  # behind what was left
    assert begun == [0]
    assert decoder.waiting == 0
    decoder.close()


async def test_what_cannot_be_done_in_time_is_refused_without_a_beginning() -> None:
    decoder, begun = Decoder(1), list[int]()
    loop = asyncio.get_running_loop()
    pictures = [(FOUR_MEGAPIXELS, partial(begun.append, number)) for number in range(1000)]
    with pytest.raises(Unavailable, match="decoding 1000 images") as refused:
        await decoder.decode(pictures, loop.time() + 1)
    assert refused.value.retry_after_seconds
    assert not begun
    assert decoder.waiting == 0
    await decoder.decode(pictures, loop.time() + HOUR)  # there is time enough
    assert len(begun) == 1000
    decoder.close()


async def test_what_waits_before_counts_and_a_picture_alone_does_not_wait_behind_batches() -> None:
    decoder, gate, begun = Decoder(1), threading.Event(), list[int]()
    loop = asyncio.get_running_loop()
    ahead = await held(decoder, gate, begun, 2)
    behind = asyncio.create_task(decoder.decode([(10**12, lambda: 0)] * 2, loop.time() + 10**9))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):  # small itself, but behind 2 × 10^12 pixels
        await decoder.decode([(1, lambda: 0)] * 2, loop.time() + 60)
    assert await decoder.decode([(1, lambda: 7)], loop.time() + HOUR) == [7]
    gate.set()
    await asyncio.gather(ahead, behind)
    decoder.close()


@pytest.mark.slow
async def test_what_turns_out_slower_than_thought_is_given_up_before_its_deadline() -> None:
    decoder, begun = Decoder(1), list[int]()

    def work(number: int) -> None:
        begun.append(number)
        time.sleep(0.1)

    deadline = asyncio.get_running_loop().time() + 60
    with pytest.raises(Unavailable):  # 10,000 × 0.1 s, while pixels so few would take no time
        await decoder.decode([(1, partial(work, number)) for number in range(10_000)], deadline)
    assert len(begun) < 1000
    decoder.close()


def v1(picture: bytes) -> dict[str, Any]:
    return {"json": {"instances": [{"b64": base64.b64encode(picture).decode()}] * 64}}


def v2(picture: bytes) -> dict[str, Any]:
    data = [base64.b64encode(picture).decode()] * 64
    return {"json": {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [64], "data": data}]}}


def form(picture: bytes) -> dict[str, Any]:
    return {"files": files(picture, 64)}


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLYPHSERVE_REQUEST_SECONDS", "0.5")
        with running_server(tmp_path_factory.mktemp("hasty"), "--no-worker") as server:
            yield server


@pytest.mark.parametrize(
    ("address", "body"),
    [("/predict", form), ("/v1/models/mnist:predict", v1), ("/v2/models/mnist/infer", v2)],
    ids=["predict", "v1", "v2"],
)
def test_a_batch_that_cannot_be_answered_in_time_is_503_and_not_decoded_to_its_end(
    hasty: Server, large: bytes, address: str, body: Callable[[bytes], dict[str, Any]]
) -> None:
    before = values(hasty)["glyphserve_images_decoded_total"]
    answer = hasty.http.post(address, **body(large))
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    wait_until(lambda: is_idle(hasty), "an idle decoder")
    assert values(hasty)["glyphserve_images_decoded_total"] - before < 64


@pytest.mark.slow
def test_a_client_that_leaves_is_decoded_for_no_longer(
    tmp_path: Path, large: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLYPHSERVE_REQUEST_SECONDS", "3600")
    monkeypatch.setenv("GLYPHSERVE_MAX_BATCH_IMAGES", "500")
    with running_server(tmp_path / "home", "--no-worker") as server:
        leaving = httpx.Client(base_url=server.url, timeout=httpx.Timeout(60, read=0.05))
        with leaving, pytest.raises(httpx.ReadTimeout):
            leaving.post("/predict", files=files(large, 500))
        answered = 'code="499"'
        wait_until(lambda: answered in server.http.get("/metrics").text and is_idle(server), "the client to be missed")
        assert values(server)["glyphserve_images_decoded_total"] < 500


@pytest.mark.slow
def test_small_requests_and_single_pictures_are_answered_between_large_batches(
    tmp_path: Path, digits: Dataset, large: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLYPHSERVE_REQUEST_SECONDS", "600")
    with running_server(tmp_path / "home", "--no-worker") as server, ThreadPoolExecutor(3) as clients:
        client = httpx.Client(base_url=server.url, timeout=600)
        batches = [clients.submit(client.post, "/predict", files=files(large, 64)) for _ in range(3)]
        wait_until(lambda: not is_idle(server), "a batch")
        assert server.http.post("/predict", files=files(png(digits.images[0]), 1)).status_code == 200
        single = client.post("/predict", files=files(large, 1))
        assert single.status_code == 200
        for batch in batches:
            answer = batch.result()
            assert answer.status_code == 200, answer.text
            assert {each["label"] for each in answer.json()["predictions"]} == {single.json()["label"]}
        corrected = client.post("/samples", files=files(large, 1), data={"label": "5"})
        assert corrected.status_code == 201, corrected.text
        client.close()


def test_of_many_large_batches_those_that_are_admitted_are_answered(hasty: Server, large: bytes) -> None:
    with ThreadPoolExecutor(8) as clients:
        answers = [clients.submit(hasty.http.post, "/predict", files=files(large, 64)) for _ in range(8)]
        assert {answer.result().status_code for answer in answers} <= {200, 503}
    wait_until(lambda: is_idle(hasty), "an idle decoder")
    small = np.zeros((28, 28), np.uint8)
    small[5:20, 13:15] = 255
    wait_until(lambda: hasty.http.post("/predict", files=files(png(small), 1)).status_code == 200, "an answer")
