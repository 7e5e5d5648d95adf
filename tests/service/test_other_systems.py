"""What Linux alone has is not needed: the calls that macOS lacks are taken away from real processes."""

from pathlib import Path

import httpx
import pytest

from tests.service.conftest import png, running_server, wait_until
from tests.service.processes import QUICK
from training import Dataset

LINUX_ONLY = """
import os
for name in (
    "eventfd", "fdatasync", "getrandom", "memfd_create", "pidfd_open", "posix_fadvise", "posix_fallocate",
    "sched_getaffinity", "sched_setaffinity", "setns", "splice", "unshare",
):
    if hasattr(os, name):
        delattr(os, name)
"""


@pytest.mark.slow
def test_processes_share_images_and_a_job_trains_without_the_calls_that_linux_alone_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Dataset
) -> None:
    (tmp_path / "sitecustomize.py").write_text(LINUX_ONLY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    image, kind = png(digits.images[0]), {"Content-Type": "image/png"}
    with running_server(tmp_path / "home", "--processes", "2") as server:
        clients = [httpx.Client(base_url=server.url, timeout=60) for _ in range(20)]

        def by_process() -> dict[int, httpx.Client]:
            return {client.get("/health/ready").json()["processes"][0]["process"]: client for client in clients}

        found = wait_until(lambda: by_process() if len(by_process()) == 2 else None, "a connection to each process")
        request_id = found[0].post("/predict", content=image, headers=kind).json()["request_id"]
        answer = found[1].post("/samples", json={"request_id": request_id, "label": "7"})
        assert answer.status_code == 201, answer.text
        server.wait_for(server.submit(settings=QUICK, promote="never")["id"], "succeeded")
        for client in clients:
            client.close()
    assert "restarting in" not in server.output
    assert "AttributeError" not in server.output
