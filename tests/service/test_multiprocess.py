"""Several API processes behind one port: real ones, one of which is killed."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.server.multiprocess import bind_reuseport_sockets
from tests.service.conftest import Server, png, running_server, wait_until
from tests.service.processes import apis_of
from tests.service.test_metrics import samples
from training import Dataset

pytestmark = pytest.mark.slow

PREDICTED = ("glyphserve_requests_total", "200", "POST", "/predict")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path / "home", "--no-worker", "--processes", "2") as server:
        yield server


def ask(server: Server, path: str) -> Any:
    """Ask on a connection of its own, which may reach any process."""
    return httpx.get(f"{server.url}{path}", timeout=60)


def predict(server: Server, digit: bytes) -> httpx.Response:
    return httpx.post(f"{server.url}/predict", content=digit, headers={"Content-Type": "image/png"}, timeout=60)


def count(server: Server) -> float:
    return samples(ask(server, "/metrics").text).get(PREDICTED, 0)


def reached(server: Server) -> int:
    return int(ask(server, "/health/ready").json()["processes"][0]["process"])


def test_two_processes_answer_and_any_of_them_tells_the_sum(server: Server, digits: Dataset) -> None:
    assert {reached(server) for _ in range(40)} == {0, 1}
    for digit in digits.images[:40]:
        assert predict(server, png(digit)).status_code == 200
    wait_until(lambda: count(server) == 40, "the sum")
    for _ in range(20):
        found = samples(ask(server, "/metrics").text)
        assert found[PREDICTED] == 40
        assert found["glyphserve_prediction_confidence_count",] == 40
        assert found["glyphserve_window_images", "mnist", "1"] == 40
        assert found["glyphserve_model_info", "mnist", "1"] == 1


def test_a_process_that_is_killed_comes_back_counts_on_and_nobody_is_refused(server: Server, digits: Dataset) -> None:
    digit = png(digits.images[0])
    for _ in range(40):
        predict(server, digit)
    wait_until(lambda: count(server) == 40, "all to be published")
    before = apis_of(server)
    os.kill(before[0], signal.SIGKILL)
    for _ in range(40):  # who meets the process that is gone waits for the next one
        assert predict(server, digit).status_code == 200
        assert count(server) >= 40

    def all_ready() -> bool:
        return [one["ready"] for one in ask(server, "/health/ready").json()["processes"]] == [True, True]

    wait_until(all_ready, "two ready processes")
    wait_until(lambda: count(server) == 80, "the sum over the dead and the living")
    after = apis_of(server)
    assert len(after) == 2
    assert len({*before, *after}) == 3


def test_a_correction_may_reach_another_process_than_the_prediction(server: Server, digits: Dataset) -> None:
    image, kind = png(digits.images[0]), {"Content-Type": "image/png"}
    connections = [httpx.Client(base_url=server.url, timeout=60) for _ in range(20)]
    try:
        by_process = {client.get("/health/ready").json()["processes"][0]["process"]: client for client in connections}
        request_id = by_process[0].post("/predict", content=image, headers=kind).json()["request_id"]
        answer = by_process[1].post("/samples", json={"request_id": request_id, "label": "7"})
        assert answer.status_code == 201, answer.text
    finally:
        for client in connections:
            client.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_end_in_good_order(number: int, server: Server) -> None:
    pids = apis_of(server)
    assert len(pids) == 2
    server.process.send_signal(number)
    assert server.stop() == 0
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    with pytest.raises(httpx.ConnectError):
        ask(server, "/health/live")


def test_without_their_parent_they_drain_and_end(server: Server) -> None:
    pids = apis_of(server)
    server.process.kill()
    server.process.wait()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the end of both")


def test_a_port_that_is_taken_is_not_shared(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        bind_reuseport_sockets("127.0.0.1", port, 2)


def test_every_socket_gets_its_share_of_connections() -> None:
    listeners = bind_reuseport_sockets("127.0.0.1", 0, 2)
    address = listeners[0].getsockname()
    clients = [socket.create_connection(address, timeout=60) for _ in range(64)]
    try:
        for listener in listeners:
            listener.settimeout(5)
            connection, _ = listener.accept()
            connection.close()
    finally:
        for opened in (*clients, *listeners):
            opened.close()
