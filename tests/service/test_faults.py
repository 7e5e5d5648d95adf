"""Kills and failing disks at chosen system calls of a real worker: benchmarks/kills.py and faults.py, in small."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.disturbed import Service, Watcher, account, wait_until
from benchmarks.faults import fault_points
from benchmarks.kills import crash_points, random_kills

pytestmark = pytest.mark.faults


def may_trace() -> bool:
    """Whether strace is here, and may look at another process."""
    if shutil.which("strace") is None:
        return False
    with subprocess.Popen(["sleep", "60"]) as process:
        command = ["strace", "-p", str(process.pid), "-e", "trace=none", "-o", "/dev/null"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr is not None
            allowed = "attached" in tracer.stderr.readline()
            tracer.terminate()
        process.kill()
    return allowed


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    if not may_trace():
        pytest.skip("strace is not installed, or may not attach (apt-get install strace; CAP_SYS_PTRACE)")
    service = Service(tmp_path / "home", min_free_bytes="0")
    wait_until(service.is_ready, "the service")
    yield service
    service.stop()


def test_kills_at_random_lose_nothing_double_nothing_and_change_no_weight(service: Service) -> None:
    with Watcher(service.registry()) as watcher:
        recovery = random_kills(service, 6, seed=1)
        result = account(service, watcher.partial)
    assert sum(len(recovery[kind]) for kind in ("api", "worker", "training")) == 6
    assert result.is_clean, result


def test_a_kill_at_each_step_of_publishing_leaves_one_whole_version(service: Service) -> None:
    with Watcher(service.registry()) as watcher:
        points, _ = crash_points(service, "link,linkat")
        result = account(service, watcher.partial)
    assert points >= 2
    assert result.is_clean, result


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_disk_that_fails_once_delays_a_job_and_no_more(service: Service, error: str) -> None:
    with Watcher(service.registry()) as watcher:
        found = fault_points(service, "fdatasync", error, (1, 3))
        result = account(service, watcher.partial)
    assert found.injected >= 2
    assert found.failed_predictions == 0
    assert result.is_clean, result
