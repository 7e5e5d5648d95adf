"""Jobs, keys and samples that a newer release has written."""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.api.keys import _parse
from service.errors import Conflict
from service.jobs.job import JobRequest
from service.samples.sample import from_bytes
from tests.service.processes import QUICK
from tests.service.test_worker import queue_of, running_worker, wait_for_end
from training import ConfigError


@dataclass(frozen=True)
class NewerRequest(JobRequest):
    """With a setting that this release does not know."""

    future: bool = True


def test_a_job_of_a_newer_release_is_listed_and_fails_by_the_name_of_what_is_unknown(tmp_path: Path) -> None:
    with queue_of(tmp_path) as jobs:
        with suppress(Conflict):  # what is read back is no NewerRequest
            jobs.submit(NewerRequest("starter", QUICK, "mnist", "never"))
        (job,) = jobs.list()
        assert job.request == JobRequest("starter", QUICK, "mnist", "never")
        with running_worker(tmp_path):
            ended = wait_for_end(jobs, job.id)
    assert ended.state == "failed"
    assert ended.detail is not None
    assert ended.detail.startswith("the job has future, which this release does not know")


def test_a_key_with_an_unknown_restriction_opens_nothing() -> None:
    key = {"id": "a", "sha256": "b", "scopes": ["admin"], "name": "", "created": ""}
    assert _parse(json.dumps(key).encode()).scopes == ("admin",)
    with pytest.raises(ConfigError, match="the key has expires, which"):
        _parse(json.dumps(key | {"expires": "2030-01-01"}).encode())


def test_a_sample_of_a_newer_release_is_refused_by_the_name_of_what_is_unknown() -> None:
    entry = {"picture": "", "model": "mnist", "label": "1", "source": {"request_id": "r", "future": 1}}
    with pytest.raises(ValueError, match="the source has future, which this release does not know"):
        from_bytes(json.dumps(entry).encode(), "a", 0)
