"""Training jobs through a really started service: API process, worker process, child processes, SQLite."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from dbos import run_dbos_database_migrations

from service.errors import Conflict, NotFound, TooManyJobs, Unavailable
from service.jobs.cleanup import JobRetention
from service.jobs.job import JobRequest, Progress
from service.jobs.queue import JobQueue
from service.settings import Settings
from tests.service.conftest import Server, png, running_server, wait_until
from tests.service.processes import ENDLESS, QUICK, trainers_of, worker_of
from tests.service.test_predict import assert_problem
from training import Dataset


def test_a_job_trains_publishes_and_answers_the_next_request_without_restart(server: Server, digits: Dataset) -> None:
    body = {"pixels": digits.images[0].tolist()}
    before = server.http.post("/predict", json=body).json()["version"]
    job = server.submit(settings=QUICK, promote="always", seed=3)
    assert job["state"] in ("queued", "running")
    done = server.wait_for(job["id"], "succeeded")
    assert (done["epoch"], done["epochs"]) == (2, 2)
    assert [epoch["epoch"] for epoch in done["history"]] == [1, 2]
    assert done["history"][1]["validation_accuracy"] > 0.5
    assert done["promoted"] is True
    assert done["created"] <= done["started"] <= done["finished"]
    wait_until(lambda: server.http.post("/predict", json=body).json()["version"] == done["version"], "the swap")
    version = server.http.get(f"/models/mnist/versions/{done['version']}").json()
    assert version["manifest"]["job_id"] == job["id"]
    assert version["manifest"]["seed"] == 3
    restored = server.http.put("/models/mnist/aliases/production", json={"version": before})
    assert restored.status_code == 200
    assert server.http.post("/predict", json=body).json()["version"] == before


def test_a_version_that_is_not_better_is_kept_but_not_promoted(server: Server) -> None:
    job = server.submit(settings=QUICK)
    done = server.wait_for(job["id"], "rejected")
    assert done["promoted"] is False
    assert f"of version {server.http.get('/models/mnist').json()['aliases'][0]['version']} on" in done["detail"]
    assert server.http.get(f"/models/mnist/versions/{done['version']}").status_code == 200


def test_a_new_model_of_another_name_is_promoted_since_it_has_no_rival(server: Server) -> None:
    job = server.submit(settings=QUICK, model="fresh")
    done = server.wait_for(job["id"], "succeeded")
    assert server.http.get("/models/fresh").json()["aliases"][0]["version"] == done["version"]


def test_the_same_key_answers_the_same_job_and_never_another(server: Server) -> None:
    server.submit(settings=QUICK, promote="never")
    headers = {"Idempotency-Key": "monday"}
    first, again = (server.http.post("/train", json={"settings": QUICK}, headers=headers) for _ in range(2))
    assert first.status_code == again.status_code == 202
    assert first.json()["id"] == again.json()["id"]
    assert first.headers["location"] == f"train/{first.json()['id']}"
    other = server.http.post("/train", json={"settings": QUICK, "seed": 5}, headers=headers)
    assert_problem(other, 409, "conflict")
    server.wait_for(first.json()["id"], "rejected")


def test_jobs_are_listed_newest_first(server: Server) -> None:
    ids = [server.submit(settings=QUICK, promote="never")["id"] for _ in range(2)]
    for job_id in ids:
        server.wait_for(job_id, "succeeded")
    listed = [job["id"] for job in server.http.get("/train").json()["jobs"]]
    assert set(ids) <= set(listed)


def test_a_cancelled_job_is_gone_at_once_and_stays_cancelled(server: Server) -> None:
    job = server.submit(settings=ENDLESS)
    wait_until(lambda: server.job(job["id"])["epoch"] > 0, "its first epoch")
    worker = worker_of(server)
    assert trainers_of(worker)
    assert server.http.delete(f"/train/{job['id']}").json()["state"] == "cancelled"
    wait_until(lambda: not trainers_of(worker), "its process to end")
    assert server.job(job["id"])["state"] == "cancelled"
    assert server.http.delete(f"/train/{job['id']}").json()["state"] == "cancelled"
    after = server.submit(settings=QUICK, promote="never")
    server.wait_for(after["id"], "succeeded")
    assert_problem(server.http.delete(f"/train/{after['id']}"), 409, "conflict")


def test_a_job_that_diverges_fails_with_the_reason_and_the_service_goes_on(server: Server, digits: Dataset) -> None:
    settings = QUICK | {"optimizer": "sgd", "learning_rate": 1000, "activation": "linear"}
    failed = server.wait_for(server.submit(settings=settings)["id"], "failed")
    assert "diverged in epoch 1" in failed["detail"]
    assert failed["version"] is None
    assert server.http.post("/predict", json={"pixels": digits.images[0].tolist()}).status_code == 200


def test_data_that_is_not_there_fails_the_job_with_the_reason(server: Server) -> None:
    failed = server.wait_for(server.submit(settings=QUICK, dataset="fashion", promote="never")["id"], "failed")
    assert "train-images-idx3-ubyte" in failed["detail"]


@pytest.mark.slow
def test_beyond_the_limit_of_the_queue_jobs_are_refused_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLYPHSERVE_MAX_QUEUED_JOBS", "2")
    with running_server(tmp_path / "home") as server:
        running = server.submit(settings=ENDLESS)
        wait_until(lambda: server.job(running["id"])["state"] == "running", "the first job to run")
        waiting = [server.submit(settings=ENDLESS) for _ in range(2)]
        refused = server.http.post("/train", json={"settings": ENDLESS})
        assert_problem(refused, 429, "too_many_jobs")
        assert int(refused.headers["retry-after"]) > 0
        assert server.http.delete(f"/train/{waiting[0]['id']}").json()["state"] == "cancelled"
        assert server.http.post("/train", json={"settings": ENDLESS}).status_code == 202


def test_without_disk_space_no_job_is_taken_and_predictions_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Dataset
) -> None:
    monkeypatch.setenv("GLYPHSERVE_MIN_FREE_BYTES", str(10**18))
    with running_server(tmp_path / "home", "--no-worker") as server:
        assert_problem(server.http.post("/train", json={}), 507, "no_disk_space")
        assert server.http.post("/predict", json={"pixels": digits.images[0].tolist()}).status_code == 200


def test_a_fifty_megabyte_upload_is_refused_and_the_client_hears_of_it(server: Server) -> None:
    answer = server.http.post("/predict", files={"file": bytes(50 * 1024**2)})
    assert_problem(answer, 413, "payload_too_large")
    answer = server.http.post(
        "/predict", content=(bytes(2**20) for _ in range(50)), headers={"Content-Type": "image/png"}
    )
    assert_problem(answer, 413, "payload_too_large")


def test_the_server_reads_every_digit_as_the_network_does(server: Server, digits: Dataset) -> None:
    for digit, label in zip(digits.images[:50], digits.labels[:50], strict=True):
        answer = server.http.post("/predict", files={"file": ("digit.png", png(digit), "image/png")})
        assert answer.json()["label"] == str(label)


def test_requests_that_are_no_http_are_answered_with_400(server: Server) -> None:
    import socket

    address = httpx.URL(server.url)
    with socket.create_connection((address.host, address.port or 80), timeout=60) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert b"400" in connection.recv(1000)


def test_a_server_starts_within_seconds_and_ends_cleanly(tmp_path: Path) -> None:
    with running_server(tmp_path / "home") as server:
        assert server.http.get("/health/ready").status_code == 200
        assert server.stop() == 0
    assert "Traceback" not in server.output


def test_the_whole_way_on_a_fresh_home(tmp_path: Path, digits: Dataset) -> None:
    picture = {"file": ("digit.png", png(digits.images[0]), "image/png")}
    with running_server(tmp_path / "home") as server:
        assert server.http.post("/predict", files=picture).json()["version"] == 1
        job = server.submit(settings={"epochs": 40, "layers": [784, 16, 10]}, promote="never")
        wait_until(lambda: 0 < server.job(job["id"])["epoch"] <= 40, "progress")
        done = server.wait_for(job["id"], "succeeded")
        assert (done["version"], done["promoted"], done["epoch"]) == (2, False, 40)
        assert server.http.post("/predict", files=picture).json()["version"] == 1
        promoted = server.http.put("/models/mnist/aliases/production", json={"version": 2})
        assert promoted.status_code == 200
        answer = server.http.post("/predict", files=picture).json()
        assert (answer["version"], answer["label"]) == (2, str(digits.labels[0]))
        assert server.stop() == 0
    assert "Traceback" not in server.output


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    """A queue that nobody works on."""
    settings = Settings(home=tmp_path, max_queued_jobs=5)
    run_dbos_database_migrations(settings.database_location)
    jobs = JobQueue(settings)
    yield jobs
    jobs.close()


def test_one_key_is_one_job_also_when_it_is_used_many_times_at_once(queue: JobQueue) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda _: queue.submit(request(), "key"), range(8)))
    assert len({job.id for job in jobs}) == len(queue.list()) == 1


def test_one_key_for_two_requests_at_once_is_a_conflict_for_one_of_them(queue: JobQueue) -> None:
    def submit(promote: str) -> str:
        try:
            return queue.submit(request(promote=promote), "key").request.promote
        except Conflict:
            return "conflict"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(submit, ("always", "never")))[1] in ("conflict", "never")
    (job,) = queue.list()
    with pytest.raises(Conflict, match="another request"):
        queue.submit(request(promote="if_better"), "key")
    assert queue.get(job.id).request == job.request


def test_many_at_once_do_not_overfill_the_queue(queue: JobQueue) -> None:
    def submit(_: int) -> bool:
        try:
            queue.submit(request())
        except TooManyJobs:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(submit, range(12))) == 5


def test_ended_jobs_are_forgotten_after_their_time_and_waiting_ones_never(queue: JobQueue) -> None:
    ended, waiting = queue.submit(request()), queue.submit(request())
    assert queue.cancel(ended.id).is_final
    assert JobRetention(queue, days=1).delete_expired() == 0
    assert wait_until(JobRetention(queue, days=0).delete_expired, "the clock to move on") == 1
    assert [job.id for job in queue.list()] == [waiting.id]
    with pytest.raises(NotFound):
        queue.get(ended.id)


def test_what_is_reported_is_in_the_record_and_a_sign_of_life_leaves_it_alone(queue: JobQueue) -> None:
    job = queue.submit(request())
    progress = Progress(epochs=3).with_epoch({"epoch": 1, "train_loss": 0.5})
    queue.save_progress(job.id, progress)
    queue.heartbeat(job.id)
    assert queue.get(job.id).progress == progress


def test_a_long_history_keeps_its_ends_and_stays_short() -> None:
    progress = Progress(epochs=5000)
    for epoch in range(1, 5001):
        progress = progress.with_epoch({"epoch": epoch})
    kept = [figures["epoch"] for figures in progress.history]
    assert progress.epoch == kept[-1] == 5000
    assert kept[0] == 1
    assert kept == sorted(set(kept))
    assert kept[-200:] == list(range(4801, 5001))
    assert len(kept) <= 500


def test_a_database_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    nowhere = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
    jobs = JobQueue(Settings(home=tmp_path, database_url=nowhere))
    for ask in (jobs.list, jobs.running, lambda: jobs.get("job-1"), lambda: jobs.submit(request())):
        with pytest.raises(Unavailable) as raised:
            ask()
        assert raised.value.retry_after_seconds


def request(**changes: Any) -> JobRequest:
    return JobRequest(**({"recipe": "starter", "settings": QUICK, "model": "mnist"} | changes))
