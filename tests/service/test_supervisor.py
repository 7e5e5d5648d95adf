"""A supervised process: a real worker that dies before it is ready, or after."""

import os
import re
import signal
from pathlib import Path

import pytest

from service.server import supervisor
from service.server.supervisor import Supervisor
from tests.service.conftest import wait_until
from tests.service.processes import children_of

pytestmark = pytest.mark.slow


def supervised(home: Path) -> Supervisor:
    arguments = ["worker", "--stop-when-stdin-closes"]
    return Supervisor("the worker", arguments, {"HOME": str(home)})


def waits(written: str) -> list[float]:
    return [float(seconds) for seconds in re.findall(r"restarting in ([0-9.]+) s", written)]


def test_a_process_that_is_never_ready_is_restarted_less_and_less_however_long_it_takes_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "_STABLE_SECONDS", 0.01)  # as on a machine where its imports take longer
    (tmp_path / "workers").write_text("in the way of the folder")
    process = supervised(tmp_path)
    wait_until(lambda: len(waits(caplog.text)) >= 4, "its deaths")
    process.stop(signal.SIGKILL)
    process.join(60)
    assert waits(caplog.text)[:4] == [0.0, 0.5, 1.0, 2.0]


def test_a_process_that_was_ready_for_a_while_is_restarted_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "_STABLE_SECONDS", 0.0)
    process, written = supervised(tmp_path), ""
    for restarts in range(1, 4):

        def is_ready(times: int = restarts) -> bool:
            nonlocal written
            written += capfd.readouterr().err
            return written.count("is ready") >= times

        wait_until(is_ready, "a worker")
        (worker,) = [pid for pid, line in children_of(os.getpid()).items() if "service worker" in line]
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: is_ready(4), "the last worker")
    process.stop()
    process.join(60)
    assert waits(caplog.text) == [0.0, 0.0, 0.0]
