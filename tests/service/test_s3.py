"""The registry and the whole service on S3, and what an outage of S3 does to them."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.errors import Unavailable
from service.registry.registry import Registry
from service.registry.store import open_store
from tests.service.conftest import Server, half_trained, wait_until
from tests.service.s3 import Line, S3Server, fresh_location, line_to
from training import Dataset

pytestmark = pytest.mark.s3


@pytest.fixture
def line(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    with line_to(s3) as line:
        for name, value in s3.environment(line.port).items():
            monkeypatch.setenv(name, value)
        yield line


@pytest.fixture
def location(line: Line, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store at the far end of the line, for this process and for those that it starts."""
    location = fresh_location()
    monkeypatch.setenv("GLYPHSERVE_STORE_URL", location)
    assert os.environ["AWS_ENDPOINT_URL"].endswith(str(line.port))
    return location


@pytest.fixture
def on_s3(location: str, tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "home", "--no-worker")
    assert location in os.environ["GLYPHSERVE_STORE_URL"]
    yield server
    server.stop()


def test_a_service_on_s3_serves_promotes_and_follows(on_s3: Server, location: str, digits: Dataset) -> None:
    body = {"pixels": digits.images[0].tolist()}
    assert on_s3.http.post("/predict", json=body).json()["version"] == 1
    registry = Registry(open_store(location))
    second = registry.publish("mnist", *half_trained()).version
    promoted = on_s3.http.put("/models/mnist/aliases/production", json={"version": second})
    assert promoted.status_code == 200, promoted.text
    assert on_s3.http.post("/predict", json=body).json()["version"] == second
    registry.promote("mnist", "production", 1, reason="elsewhere")
    wait_until(lambda: on_s3.http.post("/predict", json=body).json()["version"] == 1, "the version of elsewhere")
    assert not (on_s3.home / "store").exists()


@pytest.mark.parametrize("outage", ["cut", "silent"])
def test_an_outage_of_s3_is_told_and_predictions_go_on(
    outage: str, on_s3: Server, line: Line, s3: S3Server, location: str, digits: Dataset
) -> None:
    registry = Registry(open_store(location))
    second = registry.publish("mnist", *half_trained()).version
    body = {"pixels": digits.images[0].tolist()}
    if outage == "cut":
        line.cut()
    else:
        s3.process.send_signal(signal.SIGSTOP)
    try:
        ready = wait_until(lambda: r if (r := on_s3.http.get("/health/ready").json())["trouble"] else None, "trouble")
        assert (ready["ready"], ready["version"]) == (True, 1)
        assert on_s3.http.post("/predict", json=body).json()["version"] == 1
        assert on_s3.http.get("/models", timeout=60).status_code == 503
    finally:
        line.mend()
        s3.process.send_signal(signal.SIGCONT)
    wait_until(lambda: on_s3.http.get("/health/ready").json()["trouble"] is None, "the end of trouble")
    promoted = on_s3.http.put("/models/mnist/aliases/production", json={"version": second})
    assert promoted.status_code == 200, promoted.text
    assert on_s3.http.post("/predict", json=body).json()["version"] == second


def test_a_service_that_starts_during_an_outage_is_ready_once_it_ends(
    location: str, line: Line, tmp_path: Path, digits: Dataset
) -> None:
    assert location
    line.cut()
    server = Server(tmp_path / "home", "--no-worker", until="is not ready")
    try:
        assert server.http.get("/health/live").status_code == 200
        assert server.http.get("/health/ready").status_code == 503
        line.mend()
        wait_until(lambda: server.http.get("/health/ready").status_code == 200, "readiness")
        assert server.http.post("/predict", json={"pixels": digits.images[0].tolist()}).json()["version"] == 1
    finally:
        server.stop()


def test_what_was_written_although_its_answer_was_lost_is_known_as_ones_own(location: str, line: Line) -> None:
    registry = Registry(open_store(location))
    create, kinds = registry.store.create, set()

    def create_over_a_bad_line(key: str, content: bytes) -> None:
        kind = key.rpartition("/")[2]
        line.lose_next_answer = kind not in kinds
        kinds.add(kind)
        create(key, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry.store, "create", create_over_a_bad_line)
        made = registry.publish("odd", *half_trained(), job_id="job-1")
        state = registry.promote("odd", "production", made.version, expected_generation=0)
    assert line.lost == len(kinds) == 4  # of the weights, the job's claim, the manifest, the alias's entry
    assert state.generation == 1
    assert [entry.generation for entry in registry.history("odd", "production")] == [1]
    assert [manifest.version for manifest in registry.manifests("odd")] == [made.version]
    assert registry.load("odd", made.version).manifest.job_id == "job-1"


def test_an_address_where_nobody_listens_is_unavailable(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with line_to(s3) as line:
        port = line.port
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(Unavailable):
        open_store(fresh_location()).list("models")
