"""Whatever raises on the fast path: the application answers, the process lives, and the next requests are answered."""

import inspect
import logging
import queue
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import httpx
import numpy as np
import pytest
from PIL import Image

from service.cli.context import open_registry
from service.registry.aliases import Candidate
from service.server import batches, fast_path, fast_preprocess
from service.server.fast_decode import decode_fast_jpeg
from service.server.uvicorn_server import make_server
from service.settings import Settings
from tests.service.conftest import half_trained, png, wait_until
from tests.service.test_fast_path import saved
from tests.service.test_http_protocol import answers, request, rest
from training import Dataset

EIGHT_BYTES = bytes.fromhex("ffd8ffc00011ffd9")
GUARD = {
    "try_accept",
    "try_accept_data",
    "flush",
    "flush_computed",
    "_start_next",
    "fall_back",
    "enqueue",
    "take_done",
    "clear",
    "record_failure",
    "_fall_back_all",
}  # what calls all the others, and what it calls when they raise


class PlantedError(Exception):
    """Raised where nothing raises by itself."""


def functions() -> list[tuple[Any, str]]:
    """List all that the fast path is made of: its modules' functions and methods, and what they import from others."""
    found: list[tuple[Any, str]] = []
    for module in (fast_path, fast_preprocess, batches):
        for name, value in vars(module).items():
            if inspect.isclass(value) and value.__module__ == module.__name__:
                methods = [each for each, member in vars(value).items() if inspect.isfunction(member)]
                found += [(value, each) for each in methods if not each.startswith("__") and each not in GUARD]
            elif inspect.isroutine(value) and not isinstance(value, type):
                found.append((module, name))
    protocol = {(batches.Client, name) for name in ("respond", "fall_back", "abort")}
    return [each for each in found if each not in protocol]


def named(planted: tuple[Any, str] | Any) -> str:
    owner, name = planted
    return f"{owner.__name__.rpartition('.')[2]}.{name}"


@pytest.fixture(scope="module", params=["mnist", "accurate"])
def model(request: pytest.FixtureRequest) -> str:
    """A small network, which answers on the event loop, and a large one, which answers in a thread."""
    return str(request.param)


@pytest.fixture(scope="module")
def home(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(model) / "home"


@pytest.fixture(scope="module")
def address(home: Path, model: str) -> Iterator[tuple[str, int]]:
    """A real server, in a thread, so that its functions can be made to raise."""
    listening: queue.Queue[tuple[str, int]] = queue.Queue()
    settings = Settings(home=home, model=model, port=0, alias_poll_seconds=0.1)
    server = make_server(settings, on_ready=lambda host, port: listening.put((host, port)))
    thread = threading.Thread(target=server.run)
    thread.start()
    yield listening.get(timeout=180)
    server.should_exit = True
    thread.join(180)


def plant(patch: pytest.MonkeyPatch, owner: type | ModuleType, name: str) -> None:
    def raises(*_: object, **__: object) -> NoReturn:
        raise PlantedError(name)

    patch.setattr(owner, name, raises)


def converse(address: tuple[str, int], pieces: list[bytes]) -> list[tuple[int, dict[str, str], dict[str, object]]]:
    """Send pieces in packets of their own, then a request that ends the connection; give the answers to the pieces."""
    with socket.create_connection(address, timeout=180) as connected:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connected.sendall(piece)
            # The server has read the piece once it answers on another connection that was opened after it.
            assert httpx.get(f"http://{address[0]}:{address[1]}/health/live", timeout=180).status_code == 200
        connected.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        *received, (status, _, _) = answers(rest(connected))
    assert status == 200
    return received


def conversations(digits: Dataset) -> list[list[bytes]]:
    """Give pictures of each way through the fast path: in one piece, in two, and several at once."""
    fills_the_box, small = digits.images[0], np.zeros((28, 28), np.uint8)
    small[3:17, 5:19] = np.asarray(Image.fromarray(digits.images[1]).resize((14, 14)))
    colored = saved(Image.fromarray(digits.images[2]).convert("RGB"), "PNG")
    jpeg = saved(Image.fromarray(digits.images[3]).resize((64, 64)), "JPEG")
    contents = [png(fills_the_box), png(small), colored, jpeg]
    whole = [request(content) for content in contents]
    head, _, body = whole[0].partition(b"\r\n\r\n")
    return [whole, [b"".join(whole)], [head + b"\r\n\r\n", body], [whole[1][:1], whole[1][1:-1], whole[1][-1:]]]


@pytest.mark.parametrize("planted", functions(), ids=named)
def test_when_a_function_raises_the_application_answers(
    planted: tuple[Any, str],
    address: tuple[str, int],
    digits: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    right = [[body["label"] for _, _, body in converse(address, pieces)] for pieces in conversations(digits)]
    with monkeypatch.context() as patch, socket.create_connection(address):  # the other connection is not alone
        plant(patch, *planted)
        for pieces, labels in zip(conversations(digits), right, strict=True):
            received = converse(address, pieces)
            assert [status for status, _, _ in received] == [200] * len(labels)
            assert [body["label"] for _, _, body in received] == labels
    assert [body["label"] for _, _, body in converse(address, conversations(digits)[1])] == right[1]


def test_the_list_of_functions_has_all_readers() -> None:
    names = {name for _, name in functions()}
    assert {
        "decode_fast_png",
        "decode_fast_jpeg",
        "parse_fast_request",
        "normalize_glyph",
        "open_image",
        "format_predictions",
    } <= names


def test_failures_are_logged_and_counted(
    address: tuple[str, int], digits: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def count() -> float:
        metrics = httpx.get(f"http://{address[0]}:{address[1]}/metrics", timeout=180).text
        return float(metrics.partition("\nglyphserve_fast_path_errors_total ")[2].split()[0])

    before = count()
    with monkeypatch.context() as patch:
        plant(patch, fast_preprocess, "decode_fast_png")
        ((status, _, _),) = converse(address, [request(png(digits.images[0]))])
    assert status == 200
    assert count() == before + 1
    assert "the fast path failed" in caplog.text
    assert "PlantedError" in caplog.text


@pytest.mark.parametrize("cut", range(len(EIGHT_BYTES) + 1))
@pytest.mark.parametrize("alone", [True, False])
def test_eight_bytes_stop_nothing(cut: int, alone: bool, address: tuple[str, int]) -> None:
    sent = request(EIGHT_BYTES, kind="image/jpeg")
    pieces = [sent[: len(sent) - cut], sent[len(sent) - cut :]] if cut else [sent]
    with socket.create_connection(address) if not alone else socket.socket():
        ((status, _, body),) = converse(address, pieces)
    assert (status, body["code"]) == (422, "invalid_image")


def test_pipelined_requests_keep_their_order_while_two_versions_answer(
    address: tuple[str, int], home: Path, model: str, digits: Dataset
) -> None:
    """A canary's requests are a batch of their own, which must not leave before those that came first."""
    registry = open_registry(Settings(home=home))
    version = registry.publish(model, *half_trained()).version
    registry.promote(model, "production", 1, candidate=Candidate(version, 0.5, "canary"))
    ids = [f"request-{number}" for number in range(60)]

    def both() -> bool:
        sent = b"".join(request(png(digits.images[0]), f"X-Request-ID: {request_id}") for request_id in ids)
        received = converse(address, [sent])
        assert [body["request_id"] for _, _, body in received] == ids
        return len({body["version"] for _, _, body in received}) == 2

    with socket.create_connection(address):  # what a connection that is alone asks is answered at once
        wait_until(both, "answers of the canary")
    registry.promote(model, "production", 1)


def test_a_jpeg_that_ends_anywhere_is_not_read_and_raises_nothing(digits: Dataset) -> None:
    for kind in ({}, {"progressive": True}, {"comment": b"a comment"}):
        whole = saved(Image.fromarray(digits.images[0]), "JPEG", **kind)
        for end in range(len(whole) - 2):
            gray = decode_fast_jpeg(whole[:end] + b"\xff\xd9", 100_000, 4096)
            assert gray is None or end > whole.index(b"\xff\xda")  # a picture may lack its last rows
        for length in range(0, 65_536, 251):  # a frame's own length does not fit what is there
            place = whole.index(b"\xff\xc0" if b"\xff\xc0" in whole else b"\xff\xc2") + 2
            decode_fast_jpeg(whole[:place] + length.to_bytes(2, "big") + whole[place + 2 :], 100_000, 4096)
