"""Searches: trials as jobs over all workers, and the best of them as the version."""

from pathlib import Path
from typing import Any

import pytest

from service.jobs.job import JobRequest
from service.registry.store import open_store
from tests.service.conftest import Server, running_server, wait_until
from tests.service.processes import ENDLESS, QUICK, trainers_of, worker_of
from tests.service.test_cli import run
from tests.service.test_predict import assert_problem
from tests.service.test_worker import queue_of, running_worker, wait_for_end

pytestmark = pytest.mark.slow

SPACE = {"learning_rate": [0.0001, 0.003], "batch_size": [32, 512]}
TRIALS = [{"seed": seed} for seed in range(4)]


def test_every_combination_is_tried_and_the_best_alone_becomes_a_version(server: Server) -> None:
    search = server.submit(settings=QUICK, search={"space": SPACE}, model="searched")
    done = server.wait_for(search["id"], "succeeded")
    table = done["trials"]
    assert [trial["state"] for trial in table] == ["succeeded"] * 4
    accuracies = [trial["accuracy"] for trial in table]
    assert accuracies == sorted(accuracies, reverse=True)
    assert table[0]["settings"] == {"learning_rate": 0.003, "batch_size": 32}
    (version,) = server.http.get("/models/searched").json()["versions"]
    assert version["manifest"]["job_id"] == search["id"]
    assert version["manifest"]["metrics"]["validation_accuracy"] == accuracies[0]
    assert version["manifest"]["settings"]["learning_rate"] == 0.003
    assert version["manifest"]["search"]["trials"] == 4
    assert version["verdict"]["promoted"] is True
    assert done["epoch"] == done["epochs"] == 4
    store = open_store(str(server.home / "store"))
    wait_until(lambda: not [key for key in store.list("jobs") if search["id"] in key], "the results to go")
    watched = run("jobs", "watch", search["id"], home=server.home)
    assert watched.returncode == 0, watched.stderr
    assert "rank" in watched.stdout
    assert f"{search['id']} succeeded: version 1" in watched.stdout


def test_a_random_search_draws_so_many_and_the_same_again(server: Server) -> None:
    space = {"learning_rate": {"low": 0.001, "high": 0.01, "log": True}}
    searches = [
        server.submit(settings=QUICK, search={"space": space, "trials": 2, "seed": 5}, promote="never") for _ in "ab"
    ]
    tables = [server.wait_for(search["id"], "succeeded")["trials"] for search in searches]
    rates = [[trial["settings"]["learning_rate"] for trial in table] for table in tables]
    assert rates[0] == rates[1]
    assert len(set(rates[0])) == 2
    assert [trial["accuracy"] for trial in tables[0]] == [trial["accuracy"] for trial in tables[1]]


def test_cancelling_a_search_cancels_all_its_trials(server: Server) -> None:
    search = server.submit(settings=ENDLESS, search={"space": {"seed": [1, 2, 3]}})
    worker = worker_of(server)
    wait_until(lambda: any(f"{search['id']}-" in line for line in trainers_of(worker).values()), "a trial")
    assert server.http.delete(f"/train/{search['id']}").json()["state"] == "cancelled"
    wait_until(lambda: not any(search["id"] in line for line in trainers_of(worker).values()), "its end")
    trials = server.job(search["id"])["trials"]
    assert [trial["state"] for trial in trials] == ["cancelled"] * 3
    assert server.job(search["id"])["version"] is None


def test_when_no_trial_comes_to_a_result_the_search_fails_with_the_reasons(server: Server) -> None:
    settings = QUICK | {"optimizer": "sgd", "activation": "linear"}
    search = server.submit(settings=settings, search={"space": {"learning_rate": [900, 1000]}})
    failed = server.wait_for(search["id"], "failed")
    assert failed["detail"].startswith("none of 2 trials succeeded: training diverged")
    assert [trial["state"] for trial in failed["trials"]] == ["failed", "failed"]


def test_trials_run_on_all_workers_and_go_on_when_one_is_killed(tmp_path: Path) -> None:
    settings = QUICK | {"epochs": 30}
    with queue_of(tmp_path) as jobs, running_worker(tmp_path) as first, running_worker(tmp_path):
        search = jobs.submit(JobRequest("starter", settings, "mnist", "never", trials=TRIALS))
        wait_until(lambda: {job.executor_id for job in jobs.running()} == {"worker-0", "worker-1"}, "both at work")
        first.kill()
        first.wait()
        with running_worker(tmp_path):
            done = wait_for_end(jobs, search.id)
        assert (done.state, done.version) == ("succeeded", 1)
        assert {trial.state for trial in jobs.trials(done)} == {"succeeded"}


def test_a_trial_whose_search_has_ended_ends_at_once(tmp_path: Path) -> None:
    with queue_of(tmp_path) as jobs:
        search = jobs.submit(JobRequest("starter", QUICK, "mnist", "never", trials=TRIALS))
        with jobs._client() as client:
            client.cancel_workflow(search.id)  # the search alone, as if its trials were queued in this moment
        with running_worker(tmp_path):
            assert [wait_for_end(jobs, trial.id).detail for trial in jobs.trials(search)] == [
                "its search has ended"
            ] * 4


def test_trials_count_as_waiting_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLYPHSERVE_MAX_QUEUED_JOBS", "5")
    with running_server(tmp_path / "home", "--no-worker") as server:
        server.submit(settings=ENDLESS)
        server.submit(settings=ENDLESS)
        full = server.http.post("/train", json={"search": {"space": {"seed": [1, 2, 3, 4]}}})
        assert_problem(full, 429, "too_many_jobs")
        assert server.http.post("/train", json={"search": {"space": {"seed": [1, 2, 3]}}}).status_code == 202
        assert_problem(server.http.post("/train", json={}), 429, "too_many_jobs")


@pytest.mark.parametrize(
    ("search", "field"),
    [
        ({}, "search.space"),
        ({"space": {}}, "space"),
        ({"space": []}, "search.space"),
        ({"space": {"epoch": [1]}}, "epoch"),
        ({"space": {"epochs": [1, 0]}}, "epochs"),
        ({"space": {"epochs": []}}, "epochs"),
        ({"space": {"epochs": 3}}, "epochs"),
        ({"space": {"learning_rate": {"low": 1, "high": 0}}, "trials": 2}, "learning_rate"),
        ({"space": {"learning_rate": {"low": 0.1, "high": 1}}}, "learning_rate"),
        ({"space": {"data": ["/etc"]}}, "data"),
        ({"space": {"start_from": ["/etc/passwd"]}}, "start_from"),
        ({"space": {"teachers": ["accurate"]}}, "teachers"),
        ({"space": {"validation_share": [0.0]}}, "validation_share"),
        ({"space": {"seed": list(range(100))}}, "space"),
        ({"space": {"seed": list(range(100))}, "trials": 50}, "trials"),
        ({"space": {"seed": [1]}, "trials": 0}, "search.trials"),
        ({"space": {"seed": [1]}, "surprise": 1}, "search.surprise"),
    ],
)
def test_bad_spaces_are_refused_by_field_before_anything_is_queued(
    server: Server, search: dict[str, Any], field: str
) -> None:
    before = len(server.http.get("/train").json()["jobs"])
    problem = assert_problem(server.http.post("/train", json={"search": search}), 422, "invalid_input")
    assert problem["field"] == field
    assert len(server.http.get("/train").json()["jobs"]) == before


def test_a_search_learns_from_the_data_set_alone(server: Server) -> None:
    body = {"search": {"space": {"seed": [1]}}, "start_from": "production"}
    assert assert_problem(server.http.post("/train", json=body), 422, "invalid_input")["field"] == "search"
