"""Training jobs through a really started service: API process, worker process, child processes, SQLite."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.conftest import Server, png, running_server, wait_until
from tests.service.test_predict import assert_problem
from training import Dataset

QUICK = {"epochs": 2, "layers": [784, 16, 10]}
ENDLESS = {"epochs": 100_000, "layers": [784, 16, 10]}


def children_of(pid: int) -> dict[int, str]:
    """Find a process's children and their command lines."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:  # it ended while we looked
            continue
    return found


def worker_of(server: Server) -> int:
    return int(
        wait_until(lambda: next((p for p, c in children_of(server.process.pid).items() if "worker" in c), 0), "")
    )


def trainers_of(worker: int) -> dict[int, str]:
    return {pid: line for pid, line in children_of(worker).items() if "-m training fit" in line}


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
    assert "not as good" in done["detail"]
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
    assert first.headers["location"] == f"/train/{first.json()['id']}"
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
    wait_until(lambda: not trainers_of(worker), "its process to end", seconds=2.0)
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
    failed = server.wait_for(server.submit(settings=QUICK, dataset="fashion")["id"], "failed")
    assert "train-images-idx3-ubyte" in failed["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"recipe": "nothing"}, "recipe"),
        ({"settings": {"epoch": 3}}, "epoch"),
        ({"settings": {"epochs": 0}}, "epochs"),
        ({"settings": {"layers": [784, 10**9, 10]}}, "layers"),
        ({"settings": {"layers": [784]}}, "layers"),
        ({"settings": {"learning_rate": "fast"}}, "learning_rate"),
        ({"settings": {"data": "/etc"}}, "data"),
        ({"settings": []}, "settings"),
        ({"dataset": "../secret"}, "dataset"),
        ({"promote": "maybe"}, "promote"),
        ({"seed": -1}, "seed"),
        ({"max_minutes": 0}, "max_minutes"),
        ({"model": "../x"}, "model"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_impossible_jobs_are_refused_by_field_before_anything_is_queued(
    server: Server, body: dict[str, Any], field: str
) -> None:
    before = len(server.http.get("/train").json().get("jobs", ()))
    problem = assert_problem(server.http.post("/train", json=body), 422, "invalid_input")
    assert problem["field"] == field
    assert len(server.http.get("/train").json().get("jobs", ())) == before


@pytest.mark.parametrize("content", [b"{", b"[]", b'"x"', b'{"seed": NaN}', b"\xff", b'{"settings": {"\\ud800": 1}}'])
def test_broken_bodies_are_refused(server: Server, content: bytes) -> None:
    answer = server.http.post("/train", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert_problem(answer, answer.status_code)


def test_unknown_jobs_are_not_found(server: Server) -> None:
    server.submit(settings=QUICK, promote="never")
    for answer in (server.http.get("/train/job-nothing"), server.http.delete("/train/job-nothing")):
        assert_problem(answer, 404, "not_found")


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


def test_a_killed_worker_takes_its_child_along_and_its_job_ends_once_all_the_same(server: Server) -> None:
    job = server.submit(settings={"epochs": 400, "layers": [784, 16, 10]}, promote="never")
    wait_until(lambda: server.job(job["id"])["epoch"] > 0, "its first epoch")
    worker = worker_of(server)
    (child,) = trainers_of(worker)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{child}").exists(), "the child to end", seconds=5.0)
    done = server.wait_for(job["id"], "succeeded")
    assert done["attempts"] == 2
    assert [epoch["epoch"] for epoch in done["history"]] == list(range(1, 401))
    versions = server.http.get("/models/mnist").json()["versions"]
    assert [v["version"] for v in versions if v["manifest"].get("job_id") == job["id"]] == [done["version"]]


def test_models_and_jobs_survive_a_restart_and_a_job_cut_off_goes_on(tmp_path: Path, digits: Dataset) -> None:
    body = {"pixels": digits.images[0].tolist()}
    with running_server(tmp_path / "home") as server:
        promoted = server.wait_for(server.submit(settings=QUICK, promote="always")["id"], "succeeded")
        cut = server.submit(settings={"epochs": 300, "layers": [784, 16, 10]}, promote="never")
        wait_until(lambda: server.job(cut["id"])["epoch"] > 0, "its first epoch")
        worker = worker_of(server)
        assert server.stop() == 0
        wait_until(lambda: not Path(f"/proc/{worker}").exists(), "the worker to end", seconds=5.0)
    with running_server(tmp_path / "home") as server:
        assert server.http.post("/predict", json=body).json()["version"] == promoted["version"]
        wait_until(lambda: server.http.get(f"/train/{cut['id']}").status_code == 200, "the jobs database")
        server.wait_for(cut["id"], "succeeded")
        assert server.job(promoted["id"])["state"] == "succeeded"


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
    with socket.create_connection((address.host, address.port or 80), timeout=5) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert b"400" in connection.recv(1000)


def test_a_server_starts_within_seconds_and_ends_cleanly(tmp_path: Path) -> None:
    with running_server(tmp_path / "home") as server:
        assert server.http.get("/health/ready").status_code == 200
        assert server.stop() == 0
    assert "Traceback" not in server.output


def test_two_workers_of_one_host_get_different_ids(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "service", "worker", "--stop-when-stdin-closes"]
    environment = os.environ | {"GLYPHSERVE_HOME": str(tmp_path)}
    workers = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ids = set()
    for worker in workers:
        assert worker.stderr is not None
        line = next(line for line in worker.stderr if "is ready" in line)
        ids.add(line.split("worker ")[-1].split()[0])
    for worker in workers:
        worker.communicate(timeout=20)
        assert worker.returncode == 0
    assert ids == {"worker-0", "worker-1"}
