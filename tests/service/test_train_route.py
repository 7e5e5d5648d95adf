"""The routes of training jobs: what they refuse, and how a job is followed."""

import json
import os
import signal
import threading
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.conftest import Server, running_server, wait_until
from tests.service.processes import ENDLESS, QUICK, trainers_of, worker_of
from tests.service.test_predict import assert_problem


def events_of(answer: httpx.Response) -> list[dict[str, str]]:
    """Read a stream of server-sent events to its end."""
    events, fields = [], {}
    for line in answer.iter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            events.append(fields)
            fields = {}
    return events


def test_a_job_is_followed_by_its_epochs_to_its_end(server: Server) -> None:
    job = server.submit(settings={"epochs": 30, "layers": [784, 16, 10]}, promote="never")
    with server.http.stream("GET", f"/train/{job['id']}/events", timeout=60) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = events_of(answer)
    epochs = [json.loads(event["data"]) for event in events if event["event"] == "epoch"]
    assert [epoch["epoch"] for epoch in epochs] == list(range(1, 31))
    assert epochs[-1]["validation_accuracy"] > 0.5
    end = json.loads(events[-1]["data"])
    assert (events[-1]["event"], end["state"]) == ("state", "succeeded")
    assert end["version"] == server.job(job["id"])["version"]


def test_following_goes_on_where_it_was_cut_off(server: Server) -> None:
    done = server.wait_for(
        server.submit(settings={"epochs": 6, "layers": [784, 16, 10]}, promote="never")["id"], "succeeded"
    )
    for last, first in (("4-0", 5), ("6-0", None), ("0-0", 1), ("nonsense", 1), ("²-²", 1)):
        headers = [(b"Last-Event-ID", last.encode("latin-1"))]
        with server.http.stream("GET", f"/train/{done['id']}/events", headers=headers) as answer:
            events = events_of(answer)
        assert [e["id"] for e in events if e["event"] == "epoch"] == [f"{n}-0" for n in range(first or 7, 7)]


def test_within_an_epoch_there_is_news_twice_a_second(server: Server) -> None:
    job = server.submit(settings={"epochs": 2, "layers": [784, 256, 256, 10], "batch_size": 1}, promote="never")
    current = wait_until(lambda: server.job(job["id"])["current"], "the first figures")
    assert 0 < current["step"] <= current["steps"] == 4000
    assert current["images_per_second"] > 0
    assert current["seconds_left"] > 0
    with server.http.stream("GET", f"/train/{job['id']}/events", timeout=60) as answer:
        told, kind = [], ""
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            kind = value if name == "event" else kind
            if name == "data":
                told.append((kind, json.loads(value)))
            if [kind for kind, _ in told].count("progress") == 3:
                break
    steps = [(figures["epoch"], figures["step"]) for kind, figures in told if kind == "progress"]
    assert steps == sorted(set(steps))
    state = next(data for kind, data in told if kind == "state")
    assert (state["state"], state["attempts"]) == ("running", 1)
    assert server.http.delete(f"/train/{job['id']}").json()["current"] is None


def another_trainer(worker: int, job_id: str, last: int) -> int:
    return next((pid for pid, line in trainers_of(worker).items() if job_id in line and pid != last), 0)


def test_a_log_is_followed_line_by_line_and_goes_on_where_it_was_cut_off(server: Server) -> None:
    job = server.submit(settings={"epochs": 30, "layers": [784, 64, 10]}, promote="never")
    killed = 0
    for _ in range(2):
        killed = wait_until(partial(another_trainer, worker_of(server), job["id"], killed), "the training")
        os.kill(killed, signal.SIGKILL)
    done = server.wait_for(job["id"], "succeeded")
    assert (done["strikes"], done["attempts"]) == (2, 1)
    with server.http.stream("GET", f"/train/{job['id']}/events") as answer:
        lines = [event for event in events_of(answer) if event["event"] == "log"]
    assert [json.loads(event["data"])["line"] for event in lines] == done["log"]
    assert done["log"].count("training was killed by signal 9") == 2
    place = lines[1]["id"]
    with server.http.stream("GET", f"/train/{job['id']}/events", headers={"Last-Event-ID": place}) as answer:
        rest = events_of(answer)
    assert [event["id"] for event in rest if event["event"] == "log"] == [event["id"] for event in lines[2:]]


def test_a_job_that_is_not_there_cannot_be_followed(server: Server) -> None:
    server.submit(settings=QUICK, promote="never")
    assert_problem(server.http.get("/train/job-nothing/events"), 404, "not_found")


@pytest.mark.slow
def test_who_follows_a_job_does_not_keep_the_server_from_ending(tmp_path: Path) -> None:
    with running_server(tmp_path / "home") as server:
        job = server.submit(settings=ENDLESS)
        wait_until(lambda: server.job(job["id"])["epoch"], "its first epoch")
        following, seen = threading.Event(), []

        def follow() -> None:
            with httpx.stream("GET", f"{server.url}/train/{job['id']}/events", timeout=180) as answer:
                for line in answer.iter_lines():
                    seen.append(line)
                    following.set()

        follower = threading.Thread(target=follow)
        follower.start()
        assert following.wait(10)
        server.process.terminate()
        assert server.process.wait(timeout=60) == 0
        follower.join(5)
        assert not follower.is_alive()


def test_a_list_of_jobs_has_the_last_epoch_of_each(server: Server) -> None:
    done = server.wait_for(server.submit(settings=QUICK, promote="never")["id"], "succeeded")
    listed = server.http.get("/train").json()["jobs"]
    assert [len(job["history"]) for job in listed if job["id"] == done["id"]] == [1]
    assert len(done["history"]) == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"recipe": "nothing"}, "recipe"),
        ({"settings": {"epoch": 3}}, "epoch"),
        ({"settings": {"epochs": 0}}, "epochs"),
        ({"settings": {"epochs": None}}, "epochs"),
        ({"settings": {"batch_size": None}}, "batch_size"),
        ({"settings": {"seed": None}}, "seed"),
        ({"settings": {"l2": None}}, "l2"),
        ({"settings": {"optimizer_options": {"beta2": 1}}}, "optimizer_options"),
        (
            {"settings": {"optimizer": "sgd", "optimizer_options": {"nesterov": 7, "momentum": 0.9}}},
            "optimizer_options",
        ),
        ({"settings": {"optimizer": "sgd", "optimizer_options": {"momentum": 1.5}}}, "optimizer_options"),
        ({"settings": {"schedule_options": {"warm_up": 3}}}, "schedule_options"),
        ({"settings": {"schedule": "one_cycle", "schedule_options": {"rise": 2}}}, "schedule_options"),
        ({"settings": {"input": {"low": "a"}}}, "input"),
        ({"settings": {"layers": [784, True, 10]}}, "layers"),
        ({"settings": {"class_weights": {"99": 2}}}, "class_weights"),
        ({"settings": {"patience": 2, "validation_share": 0}}, "patience"),
        ({"settings": {"batch_norm": True, "batch_size": 1}}, "batch_size"),
        ({"settings": {"layers": [784, 10**9, 10]}}, "layers"),
        ({"settings": {"layers": [784]}}, "layers"),
        ({"settings": {"learning_rate": "fast"}}, "learning_rate"),
        ({"settings": {"data": "/etc"}}, "data"),
        ({"settings": []}, "settings"),
        ({"dataset": "../secret"}, "dataset"),
        ({"promote": "maybe"}, "promote"),
        ({"seed": -1}, "seed"),
        ({"max_minutes": 0}, "max_minutes"),
        ({"max_minutes": "5"}, "max_minutes"),
        ({"seed": True}, "seed"),
        ({"seed": 1.0}, "seed"),
        ({"include_samples": "yes"}, "include_samples"),
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


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b'"x"', b'{"seed": NaN}', b'{"max_minutes": Infinity}', b"\xff", b'{"settings": {"\\ud800": 1}}'],
)
def test_broken_bodies_are_refused(server: Server, content: bytes) -> None:
    answer = server.http.post("/train", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert_problem(answer, answer.status_code)


def test_unknown_jobs_are_not_found(server: Server) -> None:
    server.submit(settings=QUICK, promote="never")
    for answer in (server.http.get("/train/job-nothing"), server.http.delete("/train/job-nothing")):
        assert_problem(answer, 404, "not_found")
    for name in ("recipes", "datasets"):  # what lies beside the jobs is none
        assert_problem(server.http.delete(f"/train/{name}"), 404, "not_found")
