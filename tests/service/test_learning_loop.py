"""Corrections become better models: sent over HTTP, learned by a job of a real worker, served between two requests."""

import re
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from service.errors import UnprocessableContent
from service.jobs.checkpoints import Checkpoints
from service.jobs.gate import GatePolicy, decide_promotion
from service.jobs.inputs import JobInputs
from service.jobs.job import JobRequest
from service.registry.registry import Registry
from service.registry.store import Store, open_store
from service.samples.sample import Provenance
from service.samples.store import SampleStore, open_samples, sample_filter
from service.settings import Settings
from tests.service.conftest import Server, half_trained, running_server
from tests.service.learning_loop import correct, learn, mirrored, share_right
from tests.service.test_cli import run
from tests.service.test_predict import assert_problem
from training import Dataset
from training.data import load_dataset

pytestmark = pytest.mark.slow


def test_fifty_corrections_teach_an_odd_way_to_write_a_digit(tmp_path: Path, digits: Dataset) -> None:
    odd = mirrored(digits.images[digits.labels == 7])
    corrected, held_out = odd[:50], odd[50:350]
    usual, labels = digits.images[:500], [str(label) for label in digits.labels[:500]]
    with running_server(tmp_path / "home") as server:
        assert share_right(server, held_out, ["7"] * len(held_out)) < 0.2
        before = share_right(server, usual, labels)
        correct(server, corrected, "7")
        job = learn(server, dataset="starter", seed=3)
        assert job["promoted"], job["detail"]
        assert share_right(server, held_out, ["7"] * len(held_out)) >= 0.95
        assert share_right(server, usual, labels) >= before - 0.02
        manifest = server.http.get(f"/models/mnist/versions/{job['version']}").json()["manifest"]
    extra = manifest["data"]["extra"]
    assert extra["name"] == "samples"
    assert extra["examples"] + extra["held_out_examples"] == 50
    assert manifest["settings"]["start_from"] == "mnist version 1"
    assert str(tmp_path) not in str(manifest)
    assert list((tmp_path / "home" / "store" / "jobs").rglob("*.npz")) == []


MNIST_LOSS = 0.002


@pytest.mark.mnist
def test_the_loop_on_all_of_mnist_keeps_what_was_known(tmp_path: Path, mnist_source: Path) -> None:
    source = load_dataset(str(mnist_source))
    test = source.test
    assert test is not None
    corrected = mirrored(source.train.images[source.train.labels == 7][:50])
    held_out = mirrored(test.images[test.labels == 7])
    labels = [str(label) for label in test.labels]
    with running_server(tmp_path / "home") as server:
        assert share_right(server, held_out, ["7"] * len(held_out)) < 0.2
        before = share_right(server, test.images, labels)
        correct(server, corrected, "7")
        job = learn(server)
        assert job["promoted"], job["detail"]
        assert share_right(server, held_out, ["7"] * len(held_out)) >= 0.95
        assert share_right(server, test.images, labels) >= before - MNIST_LOSS


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"recipe": "corrections", "include_samples": True}, 422, "include_samples"),
        ({"recipe": "corrections", "start_from": "99"}, 422, "start_from"),
        ({"recipe": "corrections", "start_from": "nobody"}, 422, "start_from"),
        ({"recipe": "starter", "start_from": "../x"}, 422, "start_from"),
        ({"recipe": "corrections", "settings": {"layers": [784, 10]}}, 422, "layers"),
        ({"settings": {"extra_data": "/etc"}}, 422, "extra_data"),
        ({"settings": {"start_from": "/etc/passwd"}}, 422, "start_from"),
        ({"settings": {"teachers": ["accurate", "/etc/passwd"]}}, 422, "teachers"),
        ({"settings": {"extra_share": 2}}, 422, "extra_share"),
        ({"include_samples": 3}, 422, "include_samples"),
    ],
)
def test_what_a_job_cannot_be_given_is_refused_before_it_is_queued(
    server: Server, body: dict[str, Any], status: int, field: str | None
) -> None:
    problem = assert_problem(server.http.post("/train", json=body), status)
    assert problem.get("field") == field


@pytest.fixture
def inputs(tmp_path: Path, store: Store) -> JobInputs:
    registry = Registry(store)
    for seed in range(3):
        registry.publish("mnist", *half_trained(seed=seed))
    return JobInputs(store, open_samples(store, Settings(home=tmp_path)), registry)


REQUEST = JobRequest("corrections", {}, "mnist", "if_better", include_samples=True, start_from="production")


def test_what_a_job_is_given_is_decided_once(inputs: JobInputs, digits: Dataset, tmp_path: Path) -> None:
    """A job that goes on elsewhere finds what it began with, though samples came and went and others promoted."""
    for image in digits.images[:30]:
        inputs.samples.add("mnist", image, "7", Provenance("by-hand"))
    inputs.registry.promote("mnist", "production", 2)
    first, second = (tmp_path / name for name in ("first", "second"))
    first.mkdir()
    second.mkdir()
    given = inputs.materialize(REQUEST, "job-1", first)
    inputs.samples.delete("mnist", sample_filter())
    inputs.samples.add("mnist", digits.images[40], "1", Provenance("by-hand"))
    inputs.registry.promote("mnist", "production", 3)
    again = inputs.materialize(REQUEST, "job-1", second)
    for name in ("extra_data", "start_from"):
        assert Path(again[name]).read_bytes() == Path(given[name]).read_bytes()
    assert inputs.describe(REQUEST, "job-1", {"settings": {}})["settings"]["start_from"] == "mnist version 2"
    judged = inputs.holdout_samples(REQUEST, "job-1", version=1)
    assert judged is not None
    assert {image.tobytes() for image in judged.images} < {image.tobytes() for image in digits.images[:30]}
    Checkpoints(inputs.store).delete("job-1")
    assert inputs.store.list("jobs") == []


def test_samples_deleted_while_a_job_takes_its_own_are_left_out_and_the_job_goes_on(
    inputs: JobInputs, digits: Dataset, tmp_path: Path
) -> None:
    for image in digits.images[:200]:
        inputs.samples.add("mnist", image, "7", Provenance("by-hand"))
    begun = threading.Event()

    def delete() -> None:
        begun.set()
        SampleStore(inputs.store, max_samples=1, max_bytes=1).delete("mnist", sample_filter())

    deleter = threading.Thread(target=delete)
    deleter.start()
    begun.wait()
    given = inputs.materialize(replace(REQUEST, start_from="1"), "job-1", tmp_path)
    deleter.join()
    taken = {image.tobytes() for image in load_dataset(given["extra_data"]).train.images}
    assert taken <= {image.tobytes() for image in digits.images[:200]}
    assert inputs.samples.list("mnist") == []


def of_the_first(network_seed: int, registry: Registry, digits: Dataset) -> Dataset:
    """Samples that one version reads right, and the others mostly do not: its own answers."""
    network = registry.load("mnist", network_seed + 1).network
    answers = network.predict(network.config.input.to_features(digits.images[:300])).argmax(axis=1)
    return Dataset("samples", digits.images[:300], answers)


def test_the_gate_asks_the_samples_too(inputs: JobInputs, digits: Dataset) -> None:
    registry = inputs.registry
    registry.promote("mnist", "production", 1)
    request = JobRequest("starter", {}, "mnist", "if_better", include_samples=True)
    refused = decide_promotion(
        registry, "production", request, 2, GatePolicy(lambda: of_the_first(0, registry, digits))
    )
    assert not refused.promoted
    assert "against 1.0000 on 300 samples" in str(refused.reason)
    registry.publish("mnist", *half_trained(seed=0))  # reads everything as version 1 does
    taken = decide_promotion(registry, "production", request, 4, GatePolicy(lambda: of_the_first(0, registry, digits)))
    assert taken.promoted


@pytest.mark.parametrize(("count", "words"), [(3, "3 samples that it has learned from"), (8, r"\d held-out samples")])
def test_a_verdict_tells_whether_its_samples_were_learned_from(
    count: int, words: str, inputs: JobInputs, digits: Dataset, tmp_path: Path
) -> None:
    inputs.registry.promote("mnist", "production", 1)
    for image in digits.images[:count]:
        inputs.samples.add("mnist", image, "7", Provenance("by-hand"))
    request = replace(REQUEST, recipe="starter", start_from=None)
    inputs.materialize(request, "job-1", tmp_path)
    verdict = decide_promotion(
        inputs.registry, "production", request, 2, GatePolicy(partial(inputs.holdout_samples, request, "job-1", 2))
    )
    assert re.search(words, str(verdict.reason)), verdict.reason
    assert words.endswith(verdict.metrics["samples_judged"])
    assert verdict.metrics["samples"] <= count


def test_a_version_whose_samples_are_damaged_is_not_promoted(inputs: JobInputs) -> None:
    inputs.registry.promote("mnist", "production", 1)
    inputs.store.put("jobs/job-1/samples.npz", b"PK, and then nothing")
    request = replace(REQUEST, recipe="starter", start_from=None)
    samples = partial(inputs.holdout_samples, request, "job-1", 2)
    verdict = decide_promotion(inputs.registry, "production", request, 2, GatePolicy(samples))
    assert not verdict.promoted
    assert "damaged" in str(verdict.reason)


def test_the_command_refuses_to_learn_from_no_samples_as_the_api_does(tmp_path: Path) -> None:
    shown = run("train", "--recipe", "corrections", "--include-samples", home=tmp_path / "home")
    assert shown.returncode == 2
    assert "error: include_samples: there are no samples of mnist yet; send some to POST /samples" in shown.stderr


def test_samples_that_are_gone_when_the_job_begins_fail_it(inputs: JobInputs, tmp_path: Path) -> None:
    with pytest.raises(UnprocessableContent, match="no samples of mnist any more"):
        inputs.materialize(replace(REQUEST, start_from="1"), "job-1", tmp_path)


def test_the_command_learns_from_samples_too(tmp_path: Path, digits: Dataset) -> None:
    home = tmp_path / "home"
    samples = open_samples(open_store(str(home / "store")), Settings(home=home))
    for image in mirrored(digits.images[digits.labels == 7][:50]):
        samples.add("mnist", image, "7", Provenance("by-hand"))
    options = ("--recipe", "corrections", "--dataset", "starter", "--include-samples", "--set", "epochs=3")
    shown = run("train", *options, home=home)
    assert shown.returncode == 0, shown.stderr
    assert "published mnist version 2" in shown.stdout
    assert " samples" in shown.stdout
