"""One damaged record of a job hides no other job; what a job was given may be damaged, too, and is then named."""

import sqlite3
from pathlib import Path

import pytest

from service.errors import CorruptModel, NotFound
from service.jobs.inputs import JobInputs
from service.jobs.job import JobRequest
from service.observability.shared_memory import SharedPages
from service.registry.registry import Registry
from service.registry.store import open_store
from service.samples.store import open_samples
from service.settings import Settings
from tests.service.conftest import half_trained
from tests.service.test_damaged_objects import DAMAGE
from tests.service.test_worker import queue_of, submit

TORN = ["", "{", "[]", "null", '{"args": []}', '{"args": [7]}', "[" * 5000]


def change(home: Path, job_id: str, value: str) -> None:
    with sqlite3.connect(home / "jobs.sqlite") as database:
        changed = database.execute("UPDATE workflow_input SET inputs = ? WHERE workflow_uuid = ?", (value, job_id))
        assert changed.rowcount == 1
    database.close()


def test_a_job_whose_record_is_damaged_hides_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with queue_of(tmp_path) as jobs:
        good, bad = submit(jobs, {"epochs": 1}), submit(jobs, {"epochs": 2})
        for damage in TORN:
            change(tmp_path, bad, damage)
            assert [job.id for job in jobs.list()] == [good], damage
            assert [*jobs.find([good, bad])] == [good]
            with pytest.raises(NotFound):
                jobs.get(bad)
        assert f"the record of the job {bad} is damaged" in caplog.text


@pytest.mark.parametrize("damage", ["nothing", "deep lists", "a list", "cut off", "an empty object"])
def test_a_start_that_is_damaged_is_named(tmp_path: Path, damage: str) -> None:
    settings = Settings(home=tmp_path)
    store = open_store(settings.store_location)
    registry = Registry(store)
    registry.publish("mnist", *half_trained())
    inputs = JobInputs(store, open_samples(store, settings), registry)
    store.put("jobs/one/start.json", DAMAGE[damage])
    request = JobRequest("corrections", {"data": "starter"}, "mnist", "never", start_from="1")
    with pytest.raises(CorruptModel, match=r"jobs/one/start\.json is damaged"):
        inputs.materialize(request, "one", tmp_path)


def test_a_page_that_is_no_object_is_no_page() -> None:
    board = SharedPages.create(2)
    board.write(0, [1])  # type: ignore[arg-type]
    assert board.read(0) is None
    board.write(1, {"a": 1})
    assert board.read(1) == {"a": 1}
    board.close()
