"""Samples are the store's, not a replica's: what one is given all know, and any worker learns from."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.conftest import Server, running_server
from tests.service.processes import QUICK
from tests.service.s3 import S3Server, fresh_location
from training import Dataset

pytestmark = pytest.mark.s3


@pytest.fixture
def replicas(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Server]]:
    """Two hosts, each with a home, a jobs database and a worker of its own, that share a bucket and nothing else."""
    assert s3.process.poll() is None
    monkeypatch.setenv("GLYPHSERVE_STORE_URL", fresh_location())
    with running_server(tmp_path / "here") as here, running_server(tmp_path / "there") as there:
        yield here, there


def exported(server: Server) -> dict[str, bytes]:
    """Take all samples, file by file."""
    with zipfile.ZipFile(io.BytesIO(server.http.get("/samples/export").content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_samples_of_one_replica_are_listed_exported_and_learned_from_by_all(
    replicas: tuple[Server, Server], digits: Dataset
) -> None:
    for row in range(20):
        body = {"pixels": digits.images[row].tolist(), "label": str(digits.labels[row])}
        assert replicas[row % 2].http.post("/samples", json=body).status_code == 201
    here, there = (server.http.get("/samples", params={"limit": 20}).json() for server in replicas)
    assert here == there
    assert {sample["label"] for sample in here["samples"]} == {str(label) for label in digits.labels[:20]}
    files = exported(replicas[0])
    assert len(files) == 21  # and the list of them
    assert files == exported(replicas[1])
    learned = []
    for server in replicas:
        job = server.submit(recipe="starter", settings=QUICK, include_samples=True, promote="never")
        job = server.wait_for(job["id"], "succeeded")
        learned.append(server.http.get(f"/models/mnist/versions/{job['version']}").json()["manifest"]["data"]["extra"])
    assert learned[0] == learned[1]
    assert learned[0]["examples"] + learned[0]["held_out_examples"] == 20


def test_what_one_replica_deletes_or_labels_anew_is_so_for_all(
    replicas: tuple[Server, Server], digits: Dataset
) -> None:
    here, there = (server.http for server in replicas)
    body = {"pixels": digits.images[0].tolist(), "label": "1"}
    made = here.post("/samples", json=body).json()
    assert there.post("/samples", json=body).status_code == 200  # it has that label already
    assert there.post("/samples", json=body | {"label": "2"}).status_code == 201
    assert here.get(f"/samples/{made['id']}").json()["label"] == "2"
    assert [entry["label"] for entry in here.get(f"/samples/{made['id']}").json()["history"]] == ["2", "1"]
    assert here.delete(f"/samples/{made['id']}").status_code == 204
    assert there.get("/samples").json()["count"] == 0
    assert there.post("/samples", json=body).status_code == 201
