"""Following jobs: one poller for all subscribers, limits, slow readers."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

import httpx
import pytest

from service.errors import NotFound, Unavailable
from service.jobs.events import JobEvent
from service.jobs.job import Job, JobRequest, Progress
from service.jobs.queue import JobQueue
from service.jobs.watcher import JobWatcher
from service.settings import Settings
from tests.service.conftest import PATIENCE_SECONDS, Server, running_server, wait_until
from tests.service.processes import ENDLESS
from tests.service.test_predict import assert_problem

REQUEST = JobRequest(recipe="starter", settings={}, model="mnist")


def encoded(pieces: Iterable[JobEvent]) -> bytes:
    return b"".join(f"{piece.kind} {piece.data}\n".encode() for piece in pieces)


class CountingJobs(JobQueue):
    """The queue itself, which counts how often it is asked for jobs."""

    queries = 0

    def find(self, ids: Sequence[str]) -> dict[str, Job]:
        self.queries += 1
        return super().find(ids)

    def get(self, job_id: str) -> Job:
        self.queries += 1
        return super().get(job_id)


@pytest.fixture
def jobs(tmp_path: Path) -> CountingJobs:
    return CountingJobs(Settings(home=tmp_path))


async def next_of(stream: AsyncIterator[bytes]) -> bytes:
    """Wait for what comes next, passing over keep-alive comments."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for content in stream:
            if not content.startswith(b":"):
                return content
    return b""


def with_epochs(*numbers: int) -> Progress:
    return Progress(epochs=100, epoch=numbers[-1], history=[{"epoch": number} for number in numbers])


async def test_many_subscribers_cost_one_query_a_poll_and_get_the_same(jobs: CountingJobs) -> None:
    job = jobs.submit(REQUEST)
    watcher = JobWatcher(jobs, 100, threading.Event())
    streams = [watcher.subscribe(await watcher.get(job.id), None, encoded)]
    first = [await next_of(streams[0])]
    asked = jobs.queries
    for _ in range(49):
        streams.append(watcher.subscribe(await watcher.get(job.id), None, encoded))
        first.append(await next_of(streams[-1]))
    assert jobs.queries - asked < 49  # only the poller has asked, a few times
    assert watcher.streams == 50
    assert len(set(first)) == 1
    jobs.save_progress(job.id, with_epochs(1))
    changes = await asyncio.gather(*(next_of(stream) for stream in streams))
    assert len(set(changes)) == 1
    assert changes[0].startswith(b"epoch")
    jobs.cancel(job.id)
    ends = await asyncio.gather(*(next_of(stream) for stream in streams))
    assert all(b"cancelled" in end for end in ends)
    assert [await next_of(stream) for stream in streams] == [b""] * 50
    assert watcher.streams == 0


async def test_a_slow_reader_gets_every_epoch_once_and_only_the_newest_progress(jobs: CountingJobs) -> None:
    job = jobs.submit(REQUEST)
    watcher = JobWatcher(jobs, 2, threading.Event())
    slow, quick = (watcher.subscribe(job, None, encoded) for _ in range(2))
    await next_of(slow)
    await next_of(quick)
    for epoch in range(1, 4):
        jobs.save_progress(job.id, with_epochs(*range(1, epoch + 1)).with_step({"epoch": epoch + 1, "step": epoch}))
        assert f"'step': {epoch}" in (await next_of(quick)).decode()
    at_once = (await next_of(slow)).decode()
    assert [f"epoch {{'epoch': {epoch}}}" in at_once for epoch in (1, 2, 3)] == [True] * 3
    assert at_once.count("step") == 1
    jobs.save_progress(job.id, with_epochs(1, 2, 3, 4))
    assert await next_of(slow) == await next_of(quick) == b"epoch {'epoch': 4}\n"


async def test_streams_end_with_the_record_of_their_job_and_with_the_server(jobs: CountingJobs) -> None:
    gone, waiting = jobs.submit(REQUEST), jobs.submit(REQUEST)
    draining = threading.Event()
    watcher = JobWatcher(jobs, 2, draining)
    streams = [watcher.subscribe(job, None, encoded) for job in (gone, waiting)]
    for stream in streams:
        await next_of(stream)
    with jobs._client() as client:
        client.delete_workflows([gone.id])
    assert await next_of(streams[0]) == b""
    draining.set()
    assert await next_of(streams[1]) == b""
    with pytest.raises(NotFound):
        await watcher.get(gone.id)


async def test_a_process_has_only_so_many_streams(jobs: CountingJobs) -> None:
    job = jobs.submit(REQUEST)
    watcher = JobWatcher(jobs, 1, threading.Event())
    stream = watcher.subscribe(await watcher.get(job.id), None, encoded)
    await next_of(stream)
    with pytest.raises(Unavailable, match="1 event streams are open"):
        await watcher.get(job.id)
    await stream.aclose()  # type: ignore[attr-defined]
    assert (await watcher.get(job.id)).id == job.id


def streams_of(server: Server) -> str:
    lines = server.http.get("/metrics").text.splitlines()
    return next(line.split()[1] for line in lines if line.startswith("glyphserve_event_streams "))


@pytest.mark.slow
def test_a_stream_too_many_is_refused_and_those_that_are_left_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLYPHSERVE_MAX_EVENT_STREAMS", "2")
    with running_server(tmp_path / "home", "--no-worker") as server:
        job = server.submit(settings=ENDLESS)
        path, address = f"/train/{job['id']}/events", httpx.URL(server.url)
        sockets = [socket.create_connection((address.host, address.port or 80)) for _ in range(2)]
        for opened in sockets:
            opened.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert opened.recv(100).startswith(b"HTTP/1.1 200")
        refused = server.http.get(path)
        assert_problem(refused, 503, "unavailable")
        assert int(refused.headers["retry-after"]) > 0
        assert streams_of(server) == "2.0"
        sockets.pop().close()
        wait_until(lambda: streams_of(server) == "1.0", "the stream to end")
        with server.http.stream("GET", path) as answer:
            assert answer.status_code == 200
        sockets.pop().close()
