"""How a version reads what was held out: confusions, misread pictures, two versions beside each other."""

import base64
import gzip
import io
import os
import struct
import threading
import time
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from service.errors import NotFound
from service.jobs import evaluation
from service.jobs.datasets import resolve_recipe
from service.jobs.evaluation import EvaluationCache, StillEvaluatingError
from service.jobs.inputs import resolve_start_version
from service.jobs.job import JobRequest
from service.registry.registry import Registry
from service.registry.store import open_store
from service.services import Services
from service.settings import Settings
from tests.service.conftest import half_trained, png
from tests.service.test_predict import assert_problem
from training import MLP, Experiment, recipes
from training.data import published_sets, save_image_folder
from training.export.npz import to_bytes
from training.recipes.experiment import load_splits
from training.types import Pixels

ADDRESS = "/models/mnist/versions/1/evaluation"


@pytest.fixture(autouse=True)
def _only_what_is_bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published sets are looked for in empty folders."""
    monkeypatch.setenv("GLYPHSERVE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(evaluation, "_WAIT_SECONDS", 180)


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Time enough for a busy machine, and a folder for data sets."""
    return settings.model_copy(update={"datasets_dir": tmp_path / "sets", "request_seconds": 600.0})


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(open_store(str(tmp_path / "store")))


@pytest.fixture
def second(app: FastAPI) -> int:
    """Another version of the model that serves, which knows nothing."""
    services: Services = app.state.services
    return services.registry.publish("mnist", *half_trained()).version


def picture(text: str) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def publish_from(registry: Registry, request: JobRequest, settings: Settings) -> int:
    """Carry a job out here, without a worker, in two steps; answer its version."""
    recipe = resolve_recipe(
        recipes.get(request.recipe).replace(**request.settings | {"max_steps": 2}), settings.datasets_dir
    )
    with TemporaryDirectory() as folder:
        if request.start_from:
            start = registry.manifest(request.model, resolve_start_version(registry, request))
            (Path(folder) / "start.npz").write_bytes(registry.weights(start))
            recipe = recipe.replace(start_from=f"{folder}/start.npz")
        experiment = Experiment(recipe)
        for _ in experiment.epochs():
            pass
        details = experiment.save(Path(folder))
        details["settings"] |= {"data": request.settings.get("data", "starter"), "start_from": None}
        return registry.publish(request.model, (Path(folder) / "weights.npz").read_bytes(), details).version


def publish(registry: Registry, **settings: Any) -> int:
    """A version of so few steps that it has learned little, from examples that its manifest tells."""
    experiment = Experiment(recipes.get("starter").replace(epochs=1, max_steps=5, **settings))
    for _ in experiment.epochs():
        pass
    weights = to_bytes(experiment.network)
    details = experiment._manifest() | {"weights_sha256": sha256(weights).hexdigest()}
    return registry.publish("odd", weights, details).version


async def test_the_confusions_of_a_version_are_those_of_the_examples_held_out(client: httpx.AsyncClient) -> None:
    shown = (await client.get(ADDRESS)).json()
    confusion = np.array(shown["confusion"])
    assert confusion.shape == (10, 10)
    assert confusion.sum() == shown["examples"] == 1000
    assert np.trace(confusion) / 1000 == shown["accuracy"] > 0.98
    assert shown["misread_count"] == len(shown["misread"]) == 1000 - np.trace(confusion)
    assert shown["data"] == "starter"
    assert shown["doubt"] == "it may have learned from some of them"  # the starter set is a part of MNIST's
    for misread in shown["misread"]:
        assert confusion[int(misread["label"]), int(misread["answer"])] > 0


async def test_a_misread_picture_is_misread_again_when_it_is_sent(client: httpx.AsyncClient) -> None:
    held_out = load_splits(recipes.get("starter")).final_test
    shown = (await client.get(ADDRESS)).json()["misread"]
    assert shown
    for misread in shown:
        pixels = picture(misread["image"])
        assert np.array_equal(pixels, held_out.images[misread["example"]])
        assert held_out.classes[held_out.labels[misread["example"]]] == misread["label"]
        answer = (await client.post("/predict", content=png(pixels), headers={"Content-Type": "image/png"})).json()
        assert answer["label"] == misread["answer"] != misread["label"]
        assert answer["confidence"] == pytest.approx(misread["confidence"], abs=1e-5)
    assert shown == sorted(shown, key=lambda misread: -misread["confidence"])


async def test_two_versions_are_compared_on_the_same_examples(client: httpx.AsyncClient, second: int) -> None:
    first = (await client.get(ADDRESS, params={"against": second, "most": 200})).json()
    other = (await client.get(f"/models/mnist/versions/{second}/evaluation?against=1&most=200")).json()
    assert first["against"]["version"] == second
    assert first["against"]["accuracy"] == other["accuracy"]
    assert first["against"]["this_alone"] == other["against"]["other_alone"]
    assert first["against"]["both"] + first["against"]["this_alone"] == first["misread_count"]
    assert other["against"]["both"] + other["against"]["this_alone"] == other["misread_count"] > 200
    assert len(other["misread"]) == 200
    for shown in (first, other):  # what the other version reads comes first
        alone = [misread["against"] == misread["label"] for misread in shown["misread"]]
        assert alone == sorted(alone, reverse=True)
        assert sum(alone) == min(200, shown["against"]["this_alone"])


async def test_what_cannot_be_evaluated_or_compared_is_told(client: httpx.AsyncClient, app: FastAPI) -> None:
    services: Services = app.state.services
    letters = services.registry.publish("mnist", *half_trained(labels=4)).version
    assert_problem(await client.get("/models/mnist/versions/99/evaluation"), 404, "not_found")
    assert_problem(await client.get(f"/models/mnist/versions/{letters}/evaluation"), 404, "not_found")
    assert_problem(await client.get(ADDRESS, params={"against": letters}), 404, "not_found")
    assert_problem(await client.get(ADDRESS, params={"against": 0}), 422, "invalid_input")
    assert_problem(await client.get(ADDRESS, params={"most": 201}), 422, "invalid_input")


async def test_versions_of_other_examples_are_not_compared(client: httpx.AsyncClient, app: FastAPI) -> None:
    services: Services = app.state.services
    pairs = [publish(services.registry, layers=(784, 8, 2), classes=classes) for classes in ((3, 8), (3, 8), (1, 7))]
    address = f"/models/odd/versions/{pairs[0]}/evaluation"
    alike = (await client.get(address, params={"against": pairs[1]})).json()
    assert alike["labels"] == ["3", "8"]
    assert alike["against"]["this_alone"] == alike["against"]["other_alone"] == 0
    assert_problem(await client.get(address, params={"against": pairs[2]}), 422, "invalid_input")


def test_what_a_version_has_learned_from_is_told(registry: Registry) -> None:
    done = EvaluationCache(registry, None)
    assert done.get("odd", publish(registry)).caveat is None
    assert done.get("odd", publish(registry, validation_share=0.0)).caveat == "it has learned from 1,000 of them"


def test_a_version_with_labels_of_its_own_is_held_against_what_its_recipe_holds_out(
    registry: Registry, tmp_path: Path
) -> None:
    some = load_splits(recipes.get("starter")).final_test.select(np.arange(200))
    (tmp_path / "sets").mkdir()
    names = np.array([f"no {n}" for n in range(10)])
    np.savez(tmp_path / "sets" / "own.npz", images=some.images, labels=some.labels, classes=names)
    experiment = Experiment(recipes.get("starter").replace(epochs=1, data=str(tmp_path / "sets" / "own.npz")))
    weights = to_bytes(experiment.network)
    details = experiment._manifest() | {"weights_sha256": sha256(weights).hexdigest()}
    details["settings"]["data"] = "own.npz"
    version = registry.publish("odd", weights, details).version
    shown = EvaluationCache(registry, tmp_path / "sets").get("odd", version)
    assert shown.caveat is None
    assert shown.examples.classes == tuple(names)
    assert np.array_equal(shown.examples.images, experiment.splits.final_test.images)
    with pytest.raises(NotFound, match="not here"):
        EvaluationCache(registry, None).get("odd", version)


def test_the_files_of_a_published_set_are_used_where_they_are_and_never_downloaded(
    registry: Registry, tmp_path: Path
) -> None:
    weights, details = half_trained()
    labels = list(published_sets.FASHION.classes)
    version = registry.publish("wear", weights, details | {"labels": labels, "settings": {"data": "fashion"}}).version
    done = EvaluationCache(registry, None)
    with pytest.raises(NotFound, match="the files of fashion are not here"):
        done.get("wear", version)
    folder = tmp_path / "data" / "fashion"
    folder.mkdir(parents=True)
    pictures = np.random.default_rng(0).integers(0, 256, (30, 28, 28), np.uint8)
    for name in published_sets.FILES:
        content = struct.pack(">II", 2049, 30) + bytes(range(10)) * 3
        if "images" in name:
            content = struct.pack(">IIII", 2051, 30, 28, 28) + pictures.tobytes()
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    shown = done.get("wear", version)
    assert np.array_equal(shown.examples.images, pictures)
    assert done.get("wear", version) is shown


def test_what_is_remembered_is_bounded_and_shares_its_pictures(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "_CACHE_SIZE", 2)
    for seed in range(3):
        registry.publish("mnist", *half_trained(seed=seed))
    done = EvaluationCache(registry, None)
    first, second, third = (done.get("mnist", version) for version in (1, 2, 3))
    assert first.examples is second.examples is third.examples
    assert done.get("mnist", 3) is third
    again = done.get("mnist", 1)
    assert again is not first
    assert np.array_equal(again.predicted, first.predicted)


def test_a_damaged_version_is_told_to_be_damaged(registry: Registry) -> None:
    weights, details = half_trained()
    version = registry.publish("mnist", weights, details).version
    registry.store.put(f"models/mnist/{version}/weights.npz", weights[:-1])
    from service.errors import CorruptModel

    with pytest.raises(CorruptModel):
        EvaluationCache(registry, None).get("mnist", version)


def test_the_network_reads_as_it_was_trained_to(registry: Registry) -> None:
    """The same figures as the library's own evaluation, where there is no temperature."""
    from training import evaluate

    version = publish(registry)
    shown = EvaluationCache(registry, None).get("odd", version)
    network: MLP = registry.load("odd", version).network
    expected = evaluate(network, shown.examples)
    assert shown.accuracy == expected.accuracy
    assert np.array_equal(shown.confusion, expected.confusion_matrix)
    assert shown.calibration_error == pytest.approx(expected.calibration_error, abs=1e-6)
    assert sorted(shown.wrong) == expected.misclassified.tolist()


@pytest.fixture
def slow(app: FastAPI, settings: Settings) -> tuple[int, threading.Event]:
    """A version whose data set is a folder with a file that is read to its end only once the event is set."""
    services: Services = app.state.services
    folder = settings.datasets_dir
    assert folder
    some = load_splits(recipes.get("starter")).final_test.select(np.arange(40))
    save_image_folder(replace(some, classes=tuple(f"no {n}" for n in range(10))), folder / "slow")
    body = {"data": "slow", "skip_unreadable": True}
    version = publish_from(services.registry, JobRequest("starter", body, "odd"), settings)
    pipe, open_it = folder / "slow" / "no 3" / "pipe.png", threading.Event()
    os.mkfifo(pipe)

    def feed() -> None:
        open_it.wait()
        while open_it.is_set():
            with suppress(BrokenPipeError):
                pipe.write_bytes(b"no picture")

    threading.Thread(target=feed, daemon=True).start()
    return version, open_it


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Pillow never closes a pipe
async def test_an_evaluation_that_takes_long_goes_on_is_told_to_be_asked_again_and_blocks_no_other(
    client: httpx.AsyncClient, slow: tuple[int, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    version, open_it = slow
    address = f"/models/odd/versions/{version}/evaluation"
    monkeypatch.setattr(evaluation, "_WAIT_SECONDS", 0.05)
    for _ in range(3):  # asked again, it is the same work
        pending = await client.get(address)
        assert (pending.status_code, pending.headers["retry-after"]) == (202, "2"), pending.text
    assert sum("_run" in thread.name for thread in threading.enumerate()) == 1
    monkeypatch.setattr(evaluation, "_WAIT_SECONDS", 180)
    assert (await client.get(ADDRESS)).status_code == 200  # of another version, meanwhile
    open_it.set()
    shown = await client.get(address)
    assert shown.status_code == 200, shown.text
    open_it.clear()
    monkeypatch.setattr(evaluation, "_WAIT_SECONDS", 0)
    assert (await client.get(address)).json() == shown.json()  # remembered


def test_an_error_of_long_work_is_told_to_the_next_who_asks_and_then_tried_again(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registry.publish("mnist", *half_trained(labels=4)).version
    done = EvaluationCache(registry, None)
    monkeypatch.setattr(evaluation, "_WAIT_SECONDS", 0)
    for _ in range(2):
        for _ in range(2000):
            try:
                done.get("mnist", version)
            except StillEvaluatingError:
                time.sleep(0.05)
            except NotFound:
                break
        assert not done._running
