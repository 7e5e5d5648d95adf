"""What is deleted by age, and what a wrong clock must not delete."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from service.cli.samples import app as samples_command
from service.errors import Conflict
from service.jobs.cleanup import JobRetention
from service.jobs.job import JobRequest
from service.jobs.queue import JobQueue
from service.settings import Settings
from tests.service.processes import QUICK
from tests.service.test_predict import assert_problem
from tests.service.test_worker import queue_of
from training import Dataset

DAY = 86_400.0


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobQueue]:
    """A queue in which three jobs have ended just now."""
    with queue_of(tmp_path) as jobs:
        for _ in range(3):
            jobs.cancel(jobs.submit(JobRequest("starter", QUICK, "mnist")).id)
        yield jobs


@pytest.mark.parametrize("jump", [-20 * 365, -1, 0, 1, 29, 31, 365, 100 * 365])
def test_no_answer_of_a_clock_alone_deletes_a_record(jobs: JobQueue, jump: float) -> None:
    started = JobRetention(jobs, days=30, wall_clock=lambda: time.time() + jump * DAY)
    assert started.delete_expired() == 0
    offsets = iter([0.0, *[jump * DAY] * 3])
    running = JobRetention(jobs, days=30, wall_clock=lambda: time.time() + next(offsets))
    assert [running.delete_expired() for _ in range(4)] == [0] * 4
    assert len(jobs.list()) == 3


def test_time_that_was_counted_deletes_records_whatever_happened_between(jobs: JobQueue) -> None:
    days = [0.0]
    retention = JobRetention(
        jobs,
        days=30,
        wall_clock=lambda: time.time() + days[-1] * DAY,
        monotonic_clock=lambda: time.monotonic() + days[-1] * DAY,
    )
    assert retention.delete_expired() == 0
    for passed, deleted in ((15.0, 0), (29.9, 0), (30.1, 3), (31.0, 0)):
        days.append(passed)
        assert retention.delete_expired() == deleted


def test_a_clock_that_is_not_believed_is_told_once(jobs: JobQueue, caplog: pytest.LogCaptureFixture) -> None:
    retention = JobRetention(jobs, days=30, wall_clock=lambda: time.time() + 365 * DAY)
    for _ in range(3):
        retention.delete_expired()
    (line,) = [record.getMessage() for record in caplog.records if "clock" in record.getMessage()]
    assert "364 days later" in line


def test_records_are_deleted_a_few_at_a_time(jobs: JobQueue) -> None:
    far = jobs.newest()
    assert far is not None
    left = 3
    while jobs.delete_ended(far.replace(year=far.year + 1), limit=1):
        left -= 1
        assert len(jobs.list()) == left
    assert left == 0


@pytest.mark.parametrize("days", [1e-9, 0, "-0.0"])
async def test_an_age_that_all_samples_have_deletes_none(
    days: float | str, client: httpx.AsyncClient, digits: Dataset, settings: Settings
) -> None:
    body = {"pixels": digits.images[0].tolist(), "label": "3"}
    assert (await client.post("/samples", json=body)).status_code == 201
    answer = await client.delete("/samples", params={"older_than_days": days})
    assert_problem(answer, 409, "conflict")
    assert "clock" in answer.json()["detail"]
    assert (await client.get("/samples")).json()["counts"] == {"3": 1}
    command = ["delete", "--older-than-days", str(days), "--home", str(settings.home)]
    refused = CliRunner().invoke(samples_command, command)
    assert isinstance(refused.exception, Conflict)
    assert (await client.delete("/samples", params={"everything": True})).json() == {"deleted": 1}
