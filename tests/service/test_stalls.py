"""An event loop that does not turn: its process is ended with its stacks in the log, and another one serves."""

import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from tests.service.conftest import PATIENCE_SECONDS, Server, running_server, wait_until
from tests.service.processes import apis_of

pytestmark = pytest.mark.slow

STALL_SECONDS = 5
PLANTED = """
import ctypes, signal

def spin_for_ever(*_):
    while True:
        pass

def hold_the_lock_for_ever(*_):
    ctypes.PyDLL(None).sleep(1_000_000)  # as an extension would that never comes back

signal.signal(signal.SIGUSR2, {function})
"""


@pytest.fixture(autouse=True)
def _stall_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLYPHSERVE_STALL_SECONDS", str(STALL_SECONDS))


def is_alive(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/health/live", timeout=PATIENCE_SECONDS).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("function", ["spin_for_ever", "hold_the_lock_for_ever"])
def test_a_callback_that_never_ends_is_named_in_the_log_and_another_process_serves(
    function: str, processes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(PLANTED.format(function=function))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with running_server(tmp_path / "home", "--no-worker", "--processes", processes) as server:
        before = apis_of(server)
        assert len(before) == int(processes)
        for pid in before:
            os.kill(pid, signal.SIGUSR2)

        def all_replaced() -> bool:
            now = apis_of(server)
            return len(now) == len(before) and not set(now) & set(before)

        wait_until(all_replaced, "new processes")
        wait_until(lambda: is_alive(server), "an answer on the same port")
    assert server.process.returncode == 0
    assert server.output.count("event loop has been blocked for 5 s") >= int(processes)
    assert server.output.count(f"in {function}") >= int(processes)
    assert "GLYPHSERVE_STALL_SECONDS" in server.output


def test_a_machine_that_was_suspended_is_not_taken_for_stalled(tmp_path: Path) -> None:
    with running_server(tmp_path / "home", "--no-worker") as server:
        family = [server.process.pid, *apis_of(server)]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(STALL_SECONDS + 2)  # the suspension itself
        for pid in family:
            os.kill(pid, signal.SIGCONT)
        assert is_alive(server)
        assert [server.process.pid, *apis_of(server)] == family
    assert "has been blocked" not in server.output


def test_a_single_process_that_is_killed_comes_back_on_the_same_port(tmp_path: Path) -> None:
    with running_server(tmp_path / "home", "--no-worker") as server:
        (before,) = apis_of(server)
        os.kill(before, signal.SIGKILL)
        assert is_alive(server)  # who comes meanwhile waits
        (after,) = apis_of(server)
        assert after != before
        os.kill(after, signal.SIGTERM)
        server.process.wait(PATIENCE_SECONDS)
    assert server.process.returncode == 0
    assert server.output.count("restarting in") == 1, "a process that ends in good order ends the service"


def test_a_single_process_does_not_outlive_its_parent(tmp_path: Path) -> None:
    with running_server(tmp_path / "home", "--no-worker") as server:
        (pid,) = apis_of(server)
        server.process.kill()
        server.process.wait()
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "its end")
