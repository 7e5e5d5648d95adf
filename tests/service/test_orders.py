"""What is decided once stays decided, whoever else acts in the same moment: interleavings that chance hardly meets."""

import signal
from pathlib import Path

import pytest

from service.backup import _keys
from service.jobs.checkpoints import Checkpoints
from service.jobs.inputs import JobInputs
from service.jobs.job import JobRequest
from service.jobs.runner import TrainingContext
from service.jobs.worker import _promote
from service.registry.registry import Registry
from service.registry.store import Store, open_store
from service.samples.store import open_samples
from service.settings import Settings
from tests.service.conftest import half_trained, wait_until
from tests.service.processes import ENDLESS
from tests.service.test_worker import queue_of, running_worker, submit

pytestmark = pytest.mark.slow


class BusyStore(Store):
    """A store in which another process publishes and promotes after each listing."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry.store._backend, registry.store._root)
        self._registry = registry

    def list(self, prefix: str) -> list[str]:
        found = super().list(prefix)
        version = self._registry.publish("mnist", *half_trained()).version
        self._registry.promote("mnist", "production", version)
        return found


def test_a_backup_has_whatever_its_aliases_mean(tmp_path: Path) -> None:
    registry = Registry(open_store(str(tmp_path)))
    store = BusyStore(registry)
    store.list("models")
    keys = list(_keys(store))
    states = [state for state in registry.history("mnist", "production") if _key_of(state.generation) in keys]
    assert states
    for state in states:
        assert {f"models/mnist/{state.version}/{file}" for file in ("manifest.json", "weights.npz")} <= set(keys)
    for key in keys:
        if key.endswith("/manifest.json"):
            assert key.replace("manifest.json", "weights.npz") in keys


def _key_of(generation: int) -> str:
    return f"models/mnist/aliases/production/{generation:08d}.json"


def test_a_manifest_is_never_written_again(tmp_path: Path) -> None:
    registry = Registry(open_store(str(tmp_path)))
    first = registry.publish("odd", *half_trained(), job_id="job-1")
    file = tmp_path / "models" / "odd" / "1" / "manifest.json"
    written = file.stat()
    assert registry.publish("odd", *half_trained(), job_id="job-1") == first
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)


def test_a_job_that_was_given_back_has_no_strike_when_it_is_begun_again(tmp_path: Path) -> None:
    with queue_of(tmp_path) as jobs:
        job_id = submit(jobs, ENDLESS)
        for attempt in (1, 2, 3):
            with running_worker(tmp_path) as worker:
                wait_until(lambda: jobs.get(job_id).attempts == attempt, "the attempt")  # noqa: B023
                job = jobs.get(job_id)
                assert (job.requeues, job.crashes) == (attempt - 1, 0)
                worker.send_signal(signal.SIGTERM)
                worker.communicate(timeout=180)
        jobs.cancel(job_id)


def test_a_job_that_was_cancelled_while_it_published_promotes_nothing(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    store = open_store(settings.store_location)
    registry = Registry(store)
    inputs = JobInputs(store, open_samples(store, settings), registry)
    place = TrainingContext(registry, Checkpoints(store), inputs, tmp_path / "scratch", 1)
    registry.promote("mnist", "production", registry.publish("mnist", *half_trained()).version)
    request = JobRequest("starter", {}, "mnist", "always")
    with queue_of(tmp_path) as jobs:
        job_id = jobs.submit(request).id
        version = registry.publish("mnist", *half_trained(seed=1), job_id=job_id).version
        jobs.cancel(job_id)
        outcome = _promote(settings, place, jobs, job_id, request, version)
    assert outcome == {"state": "failed", "detail": "cancelled", "version": version}
    assert registry.alias("mnist", "production").version == 1


def test_what_a_job_is_given_is_decided_by_who_was_first(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    store = open_store(settings.store_location)
    mine, theirs = (JobInputs(store, open_samples(store, settings), Registry(store)) for _ in range(2))

    def decide() -> bytes:
        assert theirs._get_or_create("job-1", "start.json", lambda: b"theirs") == b"theirs"
        return b"mine"

    assert mine._get_or_create("job-1", "start.json", decide) == b"theirs"
    assert theirs._get_or_create("job-1", "start.json", lambda: b"again") == b"theirs"
