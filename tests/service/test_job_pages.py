"""The pages of jobs and of data sets hold each once, in order, also where many are of one millisecond."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy

from service.errors import UnprocessableContent
from service.jobs.datasets import BUNDLED, dataset_names
from service.jobs.job import JobRequest
from service.jobs.queue import JobQueue
from service.settings import Settings

REQUEST = JobRequest("starter", {}, "mnist")
COUNT = 23


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobQueue]:
    """Queued jobs, most of them created in one of three milliseconds."""
    settings = Settings(home=tmp_path_factory.mktemp("jobs"), max_queued_jobs=COUNT + 10)
    jobs = JobQueue(settings)
    made = [jobs.submit(REQUEST).id for _ in range(COUNT)]
    engine = sqlalchemy.create_engine(settings.database_location)
    with engine.begin() as connection:
        for place, job_id in enumerate(made):
            moment = 1_764_396_000_001 + (0 if place < 9 else 1 if place < 10 else 2 if place < 20 else place)
            change = "update workflow_status set created_at = :moment where workflow_uuid = :id"
            connection.execute(sqlalchemy.text(change), {"moment": moment, "id": job_id})
    engine.dispose()
    yield jobs
    jobs.close()


def paged(jobs: JobQueue, limit: int) -> list[list[str]]:
    pages, after = [], None
    while True:
        page, after = jobs.page(limit, after)
        pages.append([job.id for job in page])
        if after is None:
            return pages


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 10, COUNT - 1, COUNT, COUNT + 1, 200])
def test_pages_of_jobs_hold_every_job_once_newest_first(limit: int, jobs: JobQueue) -> None:
    everything = jobs.list()
    assert len({job.id for job in everything}) == COUNT
    assert [job.created for job in everything] == sorted((job.created for job in everything), reverse=True)
    pages = paged(jobs, limit)
    assert [job_id for page in pages for job_id in page] == [job.id for job in everything]
    assert {len(page) for page in pages[:-1]} <= {limit}


@pytest.mark.parametrize("after", ["", "x", "1764396000001", "-job", "99999999999999-job-1", "1-../x"])
def test_a_place_that_no_page_gave_is_refused(after: str, jobs: JobQueue) -> None:
    with pytest.raises(UnprocessableContent, match="`next` of the page before"):
        jobs.page(10, after)


def test_a_page_goes_on_where_the_job_of_its_place_is_gone(jobs: JobQueue) -> None:
    page, after = jobs.page(4)
    assert after is not None
    gone = after.partition("-")[0] + "-job-zzz"  # of that millisecond, before all that are there
    expected = [job.id for job in jobs.list() if job.created <= page[-1].created]
    assert [job.id for job in jobs.page(200, gone)[0]] == expected


def test_pages_of_data_sets_hold_every_name_once(tmp_path: Path) -> None:
    for name in ("Zwei", "a", "b", "mnist", "s", "zoo"):  # one hides behind a bundled set, others sort around them
        (tmp_path / name).mkdir()
    (tmp_path / "notes.txt").touch()
    everything = dataset_names(tmp_path)
    assert everything == [*BUNDLED, "Zwei", "a", "b", "s", "zoo"]
    for limit in range(1, 10):
        found: list[str] = []
        while page := dataset_names(tmp_path, limit, found[-1] if found else None):
            assert len(page) <= limit
            found += page
        assert found == everything


async def test_the_lists_of_training_come_in_pages(client: httpx.AsyncClient) -> None:
    first = (await client.get("/train/datasets", params={"limit": 2})).json()
    assert first == {"datasets": ["starter", "mnist"], "next": "mnist"}
    second = (await client.get("/train/datasets", params={"limit": 2, "after": "mnist"})).json()
    assert second == {"datasets": ["fashion"], "next": None}
    assert (await client.get("/train")).json() == {"jobs": [], "next": None}
    for path in ("/train?limit=0", "/train?limit=201", "/train?after=x", "/train/datasets?limit=1001"):
        assert (await client.get(path)).status_code == 422, path
