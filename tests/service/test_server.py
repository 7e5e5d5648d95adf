"""The service as a process of its own, over real sockets."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.registry.registry import Registry
from service.registry.store import open_store
from service.settings import Settings
from tests.service.conftest import COMMAND, Server, half_trained, png, wait_until
from tests.service.processes import apis_of
from tests.service.test_predict import assert_problem
from training import Dataset

LARGE = 50 * 1024**2


def peak_memory(server: Server) -> int:
    """The most bytes that the API process has ever held."""
    (line,) = (
        line for line in Path(f"/proc/{apis_of(server)[0]}/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return int(line.split()[1]) * 1024


def test_a_digit_is_read_over_a_socket_in_every_form(server: Server, digits: Dataset) -> None:
    digit = digits.images[0]
    answers = [
        server.http.post("/predict", files={"file": png(digit)}),
        server.http.post("/predict", content=png(digit), headers={"Content-Type": "image/png"}),
        server.http.post("/predict", json={"pixels": digit.tolist()}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.json()["confidence"] for answer in answers}) == 1


def in_pieces() -> Iterator[bytes]:
    for _ in range(LARGE // 65_536):
        yield bytes(65_536)


@pytest.mark.parametrize("form", ["whole", "in pieces", "multipart"])
def test_fifty_megabytes_are_refused_without_being_held_and_the_client_gets_the_answer(
    form: str, server: Server
) -> None:
    before = peak_memory(server)
    image = {"Content-Type": "image/png"}
    with httpx.Client(base_url=server.url, timeout=60) as client:
        if form == "whole":
            answer = client.post("/predict", content=bytes(LARGE), headers=image)
        elif form == "in pieces":
            answer = client.post("/predict", content=in_pieces(), headers=image)
        else:
            answer = client.post("/predict", files={"file": bytes(LARGE)})
        assert_problem(answer, 413, "payload_too_large")
    assert peak_memory(server) - before < 25 * 1024**2


def test_a_client_that_asks_before_it_sends_is_refused_before_it_has_sent_anything(server: Server) -> None:
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port or 80), timeout=60) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % LARGE
        )
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")


def test_who_asks_before_the_application_is_there_waits_for_it(tmp_path: Path, digits: Dataset) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    command = [*COMMAND, "serve", "--no-worker", "--home", str(tmp_path), "--port"]
    with subprocess.Popen([*command, str(address[1])], stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: can_connect(address), "a port that listens")
            with httpx.Client(base_url=f"http://127.0.0.1:{address[1]}", timeout=60) as client:
                assert client.post("/predict", files={"file": png(digits.images[0])}).status_code == 200
                assert client.get("/health/ready").json()["ready"] is True
        finally:
            process.terminate()


def can_connect(address: tuple[str, int]) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=60):
        return True
    return False


def test_a_promotion_by_another_process_is_followed_without_a_restart(server: Server, digits: Dataset) -> None:
    registry = Registry(open_store(Settings(home=server.home).store_location))
    body = {"pixels": digits.images[0].tolist()}
    assert server.http.post("/predict", json=body).json()["version"] == 1
    second = registry.publish("mnist", *half_trained()).version
    for version in (second, 1):
        registry.promote("mnist", "production", version, reason="elsewhere")
        wait_until(lambda: server.http.post("/predict", json=body).json()["version"] == version, "the new version", 10)  # noqa: B023 -- asked before the loop goes on


def test_a_version_that_rots_leaves_the_old_one_serving(server: Server, digits: Dataset) -> None:
    folder = Path(Settings(home=server.home).store_location)
    store = open_store(str(folder))
    registry = Registry(store)
    rotten = registry.publish("mnist", *half_trained(seed=5)).version
    manifest = folder / "models" / "mnist" / str(rotten) / "manifest.json"
    registry.promote("mnist", "production", rotten, reason="good when promoted")
    body = {"pixels": digits.images[0].tolist()}
    wait_until(lambda: server.http.post("/predict", json=body).json()["version"] == rotten, "the new version")
    registry.promote("mnist", "production", 1, reason="back")
    wait_until(lambda: server.http.post("/predict", json=body).json()["version"] == 1, "the old version")
    manifest.write_bytes(b"{}")
    generation = registry.alias("mnist", "production").generation + 1
    store.create(
        f"models/mnist/aliases/production/{generation:08d}.json",
        b'{"version": %d, "since": "", "reason": "promoted before it rotted"}' % rotten,
    )
    ready = wait_until(lambda: r if (r := server.http.get("/health/ready").json())["trouble"] else None, "trouble")
    assert ready["version"] == 1
    assert server.http.post("/predict", json=body).json()["version"] == 1
    assert "glyphserve_model_trouble 1.0" in server.http.get("/metrics").text
    registry.promote("mnist", "production", 1, reason="mended")
    wait_until(lambda: not server.http.get("/health/ready").json()["trouble"], "the end of trouble")
