"""The compose file for scale, really run: replicas behind the proxy, workers on PostgreSQL, Prometheus."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.composing import ROOT, can_be_had, docker, engine_answers
from tests.fleet import PRESENT, PREVIOUS, Fleet, Load, tell
from tests.monitoring import queries
from tests.service.conftest import PATIENCE_SECONDS, png, submitted, wait_until
from tests.service.processes import QUICK
from training import Dataset
from training.data import load_dataset

pytestmark = pytest.mark.docker

REPLICAS, WORKERS = ("api-1", "api-2", "api-3"), ("worker-1", "worker-2")
SENT = 12
SERVICES = (*REPLICAS, *WORKERS, "proxy", "database", "prometheus")
KILL = """
import os, signal
for name in os.listdir("/proc"):
    if name.isdigit() and int(name) not in (1, os.getpid()):
        os.kill(int(name), signal.SIGKILL)
"""


def previous_release() -> str | None:
    """Find the newest tag of another commit, or where there is none the first commit that this file could run."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    if tag := git("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD~1"):
        return tag
    return git("log", "--diff-filter=A", "--format=%H", "--", "docker-compose.scale.yml").partition("\n")[0] or None


def build_previous() -> str:
    """Make the image of the release before this one; without its source it is this one under another name."""
    if not (commit := previous_release()):
        docker("tag", PRESENT, PREVIOUS)
        return "itself, since there is no history here"
    source = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    docker("build", "--tag", PREVIOUS, "-", given=source)
    return commit[:12]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("starter").train


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    if not engine_answers():
        pytest.skip("no Docker Engine answers here")
    images = ("nginx:stable-alpine", "postgres:15-alpine", "prom/prometheus:latest")
    if missing := [image for image in images if not can_be_had(image)]:
        pytest.skip(f"cannot be had here: {missing}")
    secrets = tmp_path_factory.mktemp("secrets")
    subprocess.run([ROOT / "deploy" / "make-secrets", secrets], check=True)
    fleet = Fleet(secrets)
    fleet.run("down", "--volumes")
    fleet.run("build", "api-1")
    tell(f"the previous release is {build_previous()}")
    fleet.variables["GLYPHSERVE_IMAGE"] = PREVIOUS
    # The folder for its data is in Prometheus's own image, but not in every image of it.
    volume = f"{fleet.project}_metrics:/prometheus"
    docker("run", "--rm", "--user", "0", "--volume", volume, "--entrypoint", "chown", images[2], "65534", "/prometheus")
    try:
        fleet.run("up", "--detach", "--no-build")
        fleet.wait_for(*fleet.replicas)
        wait_until(lambda: fleet.http.get("/health/ready").status_code == 200, "the proxy")
        yield fleet
    finally:
        fleet.close()
        fleet.run("down", "--volumes")


def test_no_request_fails_while_the_replicas_are_upgraded(fleet: Fleet) -> None:
    images = {fleet.inspected(replica, "{{.Config.Image}}") for replica in REPLICAS}
    assert images == {PREVIOUS}
    fleet.variables["GLYPHSERVE_IMAGE"] = PRESENT
    with Load(fleet.port) as load:
        started = time.monotonic()
        fleet.roll()
        took = time.monotonic() - started
    tell(load.told(f"rolling upgrade of 3 replicas in {took:.0f} s"))
    images = {fleet.inspected(replica, "{{.Config.Image}}") for replica in (*REPLICAS, *WORKERS)}
    assert images == {PRESENT}
    assert set(load.outcomes) == {"right"}


def test_no_request_fails_while_replicas_are_killed_and_restarted(fleet: Fleet) -> None:
    with Load(fleet.port) as load:
        for name, replica in zip(REPLICAS, fleet.replicas, strict=True):
            # Ends with its container, so by a signal of its own when it is not quick enough.
            docker("exec", fleet.container(name), "python", "-c", KILL, check=False)
            fleet.wait_for_restart(name)
            fleet.wait_for(replica)
        for name, replica in zip(REPLICAS, fleet.replicas, strict=True):
            fleet.run("restart", name)
            fleet.wait_for(replica)
    tell(load.told("3 replicas killed by SIGKILL, 3 restarted"))
    assert set(load.outcomes) == {"right"}


def test_samples_sent_to_the_proxy_are_known_to_all_replicas(fleet: Fleet, digits: Dataset) -> None:
    for row in range(SENT):
        body = {"pixels": digits.images[row].tolist(), "label": str(digits.labels[row])}
        assert fleet.http.post("/samples", json=body).status_code == 201
    listed = [replica.get("/samples", params={"limit": SENT}).json() for replica in fleet.replicas]
    assert listed[0]["count"] == SENT
    assert listed[1:] == listed[:1] * 2
    exports = [replica.get("/samples/export").content for replica in fleet.replicas]
    assert len(exports[0]) > 0
    assert set(exports) == {exports[0]}


def test_jobs_go_to_both_workers_which_learn_from_the_same_samples(fleet: Fleet) -> None:
    body = {"recipe": "starter", "settings": QUICK, "promote": "never", "include_samples": True}
    ended: list[dict[str, Any]] = []
    done: dict[str, set[str]] = {}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (done and all(done.values())):  # who is quick may find more than its share
        assert time.monotonic() < deadline, done
        jobs = [submitted(fleet.http, body) for _ in range(4)]
        ended += [fleet.finished(job) for job in jobs]
        logs = {worker: docker("logs", fleet.container(worker)).stderr.decode() for worker in WORKERS}
        done = {worker: {job["id"] for job in ended if job["id"] in log} for worker, log in logs.items()}
    tell(f"{len(ended)} jobs: {', '.join(f'{worker} did {len(ids)}' for worker, ids in done.items())}")
    assert {job["state"] for job in ended} == {"succeeded"}, ended
    assert not set.intersection(*done.values())
    made = [fleet.http.get(f"/models/mnist/versions/{job['version']}").json()["manifest"] for job in ended]
    learned = [manifest["data"]["extra"] for manifest in made]
    assert learned[0]["examples"] + learned[0]["held_out_examples"] == SENT
    assert all(extra == learned[0] for extra in learned)


def versions(fleet: Fleet) -> list[int]:
    """List the versions; replicas that install a bundled one at the same moment leave gaps in their numbers."""
    return sorted(each["version"] for each in fleet.http.get("/models/mnist").json()["versions"])


def test_a_promotion_is_seen_by_all_replicas(fleet: Fleet) -> None:
    fleet.wait_for(*fleet.replicas)
    took = []
    other, another = [number for number in versions(fleet) if number != 1][:2]
    for version in (other, 1, another, 1):
        answer = fleet.http.put("/models/mnist/aliases/production", json={"version": version})
        assert answer.status_code == 200, answer.text
        started = time.monotonic()
        fleet.wait_for_all(version)
        took.append(time.monotonic() - started)
    tell(f"promotions seen by 3 replicas after {', '.join(f'{seconds:.2f}' for seconds in took)} s")


def test_the_proxy_passes_ids_on_and_speaks_as_the_service_does(fleet: Fleet) -> None:
    files = {"file": ("digit.png", png(np.full((28, 28), 255, np.uint8)), "image/png")}
    answer = fleet.http.get("/health/ready", headers={"X-Request-ID": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert len(fleet.http.post("/predict", files=files).headers["x-request-id"]) == 32
    assert fleet.http.get("/metrics").json()["code"] == "not_found"
    fleet.run("stop", *REPLICAS)
    assert [fleet.inspected(replica, "{{.State.ExitCode}}") for replica in REPLICAS] == ["0"] * 3
    for answer in (fleet.http.post("/predict", files=files), fleet.http.delete("/models/mnist/versions/1")):
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
    fleet.run("start", *REPLICAS)
    fleet.wait_for(*fleet.replicas)


def test_prometheus_asks_every_replica_and_knows_the_alerts(fleet: Fleet) -> None:
    fleet.run("exec", "-T", "prometheus", "promtool", "check", "config", "/etc/prometheus/prometheus.yml")

    def all_up() -> bool:
        found = fleet.prometheus.get("/api/v1/query", params={"query": "sum(up)"}).json()["data"]["result"]
        return bool(found) and found[0]["value"][1] == "3"

    wait_until(all_up, "three targets that are up")
    rules = fleet.prometheus.get("/api/v1/rules").json()["data"]["groups"][0]["rules"]
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}  # unknown: not evaluated yet
    assert "GlyphserveDown" in {rule["name"] for rule in rules}


def test_every_query_of_the_dashboard_has_data(fleet: Fleet) -> None:
    """A crowd with a candidate on trial, pictures that cannot be read, and addresses that do not exist."""
    body = {"version": 1, "candidate": next(number for number in versions(fleet) if number != 1)}
    assert fleet.http.put("/models/mnist/aliases/production", json=body).status_code == 200

    def without_data() -> list[str]:
        assert fleet.http.post("/predict", content=b"none", headers={"Content-Type": "image/png"}).status_code >= 400
        assert fleet.http.get("/nowhere").status_code == 404
        return [f"{title}: {query}" for title, query in queries() if not fleet.measured(query)]

    with Load(fleet.port):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while missing := without_data():
            assert time.monotonic() < deadline, missing
            time.sleep(1)  # until the next scrape
    tell(f"all {len(list(queries()))} queries of the dashboard have data")
    instances = fleet.prometheus.get(
        "/api/v1/label/instance/values", params={"match[]": "glyphserve_requests_in_flight"}
    )
    assert instances.json()["data"] == [f"{replica}:8000" for replica in REPLICAS]


@pytest.mark.parametrize("service", SERVICES)
def test_every_container_runs_with_as_little_as_it_needs(fleet: Fleet, service: str) -> None:
    everything = docker("inspect", fleet.container(service)).stdout.decode()
    host, config = json.loads(everything)[0]["HostConfig"], json.loads(everything)[0]["Config"]
    assert config["User"].partition(":")[0] not in ("", "0", "root")
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] > 0
    assert host["NanoCpus"] > 0
    assert host["PidsLimit"] > 0
    assert config["StopTimeout"] >= 20
    password = (Path(fleet.variables["GLYPHSERVE_SECRETS"]) / "database_password").read_text()
    assert password not in everything
