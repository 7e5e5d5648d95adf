"""Homes that other releases have written: older ones open, with all that is in them; later ones are refused."""

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.registry.store import open_store
from service.settings import Settings
from tests.service.conftest import Server, running_server, wait_until
from tests.service.test_backup import command
from training import Dataset

pytestmark = pytest.mark.slow

STORED = Path(__file__).parent / "stored"
CENTURY_DAYS = "36500"
"""The jobs in these homes ended long ago, and their records would be forgotten."""


@contextmanager
def opened(name: str, home: Path) -> Iterator[Server]:
    """Serve what an older release has left; only the released model was taken out, for its size."""
    with tarfile.open(STORED / name) as archive:
        # Pythons before 3.11.4 know no filters, later ones warn without; the archives are ours.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        archive.extractall(home)  # noqa: S202
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLYPHSERVE_JOB_RETENTION_DAYS", CENTURY_DAYS)
        with running_server(home) as server:
            yield server


def test_a_home_of_the_first_release_opens_and_its_queued_jobs_are_done(tmp_path: Path) -> None:
    """Written by the first commit that could serve."""
    with opened("first_release.tar.gz", tmp_path / "home") as server:
        assert server.http.get("/health/ready").json()["version"] == 2
        assert "job-f6ec64b9776147779d7c" in server.http.get("/models/mnist/versions/2").text
        jobs = {job["id"]: job for job in wait_until(lambda: server.http.get("/train").json().get("jobs"), "the jobs")}
        assert len(jobs) == 4
        assert jobs["job-f6ec64b9776147779d7c"]["state"] == "succeeded"
        for job_id in jobs:
            server.wait_for(job_id, "succeeded")


def test_a_home_with_samples_a_key_a_trial_and_a_job_that_was_cut_off_opens_and_goes_on(
    tmp_path: Path, digits: Dataset
) -> None:
    """Written by 3337d4f, the first commit with the compose file for scale, and killed while it trained."""
    with opened("with_samples.tar.gz", tmp_path / "home") as server:
        known = json.loads((tmp_path / "home" / "known.json").read_text())
        assert server.http.get("/samples").status_code == 401
        server.http.headers["Authorization"] = f"Bearer {known['key']}"
        assert server.http.get("/samples").json() == known["samples"]
        corrected = server.http.get(f"/samples/{known['samples']['samples'][0]['id']}").json()
        assert [entry["label"] for entry in corrected["history"]] == ["7", "6"]
        answer = server.http.post("/predict", json={"pixels": digits.images[0].tolist()}).json()
        assert (answer["version"], answer["label"]) == (2, known["answer"]["label"])
        assert answer["probabilities"] == pytest.approx(known["answer"]["probabilities"], abs=1e-5)
        alias = server.http.get("/models/mnist/aliases/production").json()
        assert (alias["version"], alias["candidate"], alias["mode"], alias["generation"]) == (2, 3, "shadow", 3)
        wait_until(lambda: server.http.get("/train").status_code == 200, "the jobs")
        for job in known["jobs"]["jobs"]:
            assert server.job(job["id"])["version"] == job["version"]
        made = {server.wait_for(known[job], "succeeded")["version"] for job in ("cut", "queued")}
        assert len(made - {1, 2, 3}) == 2
        body = {"settings": {"epochs": 1}, "promote": "never", "include_samples": True}
        learned = server.wait_for(server.submit(**body)["id"], "succeeded")
        extra = server.http.get(f"/models/mnist/versions/{learned['version']}").json()["manifest"]["data"]["extra"]
        assert extra["examples"] + extra["held_out_examples"] == len(known["samples"]["samples"])


@pytest.mark.parametrize(
    "words", [["serve", "--port", "0"], ["worker"], ["models", "list"], ["backup", "never.tar.gz"]]
)
def test_a_store_of_a_later_release_is_refused(tmp_path: Path, words: list[str]) -> None:
    settings = Settings(home=tmp_path / "home")
    open_store(settings.store_location).put("format.json", b'{"format": 2}')
    told = command(*words, "--home", settings.home)
    assert told.returncode == 1
    assert told.stderr.strip().endswith("written by a later release; this one supports up to 1")
    assert not Path("never.tar.gz").exists()
