"""What cannot come to an end, or can only be rejected, is refused before it is queued; letters learn further."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.api.routes.job_validation import _request
from service.errors import UnprocessableContent
from service.jobs.gate import GatePolicy, decide_promotion
from service.jobs.job import JobRequest
from service.jobs.schemas import SearchBody, TrainBody
from service.jobs.validation import validate_request
from service.registry.registry import Registry
from service.registry.store import open_store
from service.samples.sample import Provenance
from service.samples.store import SampleStore, open_samples
from service.settings import Settings
from tests.service.conftest import half_trained
from tests.service.test_evaluation import publish_from
from training import Dataset
from training.data import save_image_folder
from training.data.dataset import DIGITS

LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> tuple[Registry, SampleStore, Settings]:
    """A store whose model mnist reads digits, and some data sets."""
    folder = tmp_path_factory.mktemp("sets")
    some = digits.select(np.arange(260))
    letters = Dataset("letters", some.images, np.arange(260) % 26, LETTERS)
    np.savez(folder / "letters.npz", images=letters.images, labels=letters.labels, classes=np.array(LETTERS))
    single = Dataset("single", some.images[:20], np.zeros(20, np.int64), ("A",))
    np.savez(folder / "single.npz", images=single.images, labels=single.labels, classes=np.array(["A"]))
    np.savez(folder / "rare.npz", images=some.images[:10], labels=np.arange(10))
    np.savez(folder / "small.npz", images=some.images[:, :20, :20], labels=some.labels)
    np.savez(folder / "torn.npz", images=some.images, labels=some.labels)
    (folder / "torn.npz").write_bytes((folder / "torn.npz").read_bytes()[:-300])
    save_image_folder(digits.select(np.arange(60)), folder / "pictures")
    save_image_folder(single, folder / "alone")
    for name in ("bad", "parts", "nested"):
        save_image_folder(digits.select(np.arange(60)), folder / name if name != "parts" else folder / name / "train")
    (folder / "bad" / "3" / "x.png").write_bytes(b"no picture")
    (folder / "parts" / "val").mkdir()
    (folder / "nested" / "3" / "more").mkdir()
    settings = Settings(home=tmp_path_factory.mktemp("home"), datasets_dir=folder)
    store = open_store(settings.store_location)
    registry = Registry(store)
    registry.publish("mnist", *half_trained())
    registry.promote("mnist", "production", 1)
    return registry, open_samples(store, settings), settings


Place = tuple[Registry, SampleStore, Settings]


def asked(place: Place, **body: Any) -> JobRequest:
    registry, samples, settings = place
    field = "dataset" if "dataset" in body else "data"
    return validate_request(_request(TrainBody(**body), settings), registry, samples, settings, field=field)


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"dataset": "letters.npz"}, "model", "mnist has the classes 0, 1, .* name another model"),
        (
            {"dataset": "letters.npz", "model": "s", "settings": {"layers": [784, 8, 10]}},
            "layers",
            "26 classes, but the last",
        ),
        ({"dataset": "single.npz", "model": "s"}, "dataset", "1 class"),
        ({"dataset": "alone", "model": "s"}, "dataset", "1 class"),
        ({"dataset": "single.npz", "model": "s", "settings": {"layers": [784, 64, 1]}}, "dataset", "1 class"),
        ({"settings": {"classes": [3]}, "model": "s"}, "classes", "1 class"),
        ({"settings": {"classes": [3, 12]}, "model": "s"}, "classes", "has the classes 0 to 9"),
        ({"settings": {"classes": [3, 8]}}, "model", "mnist has the classes"),
        ({"dataset": "rare.npz"}, "dataset", "leaves none to hold out"),
        ({"dataset": "small.npz"}, "dataset", "expected images of shape"),
        ({"dataset": "torn.npz"}, "dataset", "torn.npz is not an .npz"),
        ({"dataset": "bad"}, "dataset", "bad/3/x.png is not an image"),
        ({"dataset": "parts"}, "dataset", "the two folders train and test"),
        ({"dataset": "nested"}, "dataset", "3/more is a folder"),
        ({"settings": {"output": "sigmoid"}}, "loss", "wants the output softmax"),
        ({"settings": {"class_weights": {"12": 2.0}}}, "class_weights", "names class 12"),
        ({"settings": {"teachers": ["accurate"], "classes": [3, 8]}, "model": "s"}, "teachers", "must know 3, 8"),
        ({"recipe": "corrections", "model": "s"}, "start_from", "no"),
        ({"start_from": "7"}, "start_from", "no version 7"),
        ({"start_from": "nobody"}, "start_from", "name a version or an alias"),
        ({"start_from": "production", "dataset": "letters.npz"}, "dataset", "26 classes"),
        ({"include_samples": True}, "include_samples", "there are no samples of mnist yet; send some to POST"),
    ],
)
def test_what_cannot_succeed_is_refused_by_field(place: Place, body: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(UnprocessableContent, match=says) as caught:
        asked(place, **body)
    assert caught.value.field == field
    assert str(place[2].datasets_dir) not in caught.value.detail


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"dataset": "pictures"},
        {"dataset": "bad", "settings": {"skip_unreadable": True}},
        {"dataset": "letters.npz", "model": "letters"},
        {"dataset": "letters.npz", "promote": "never"},
        {"dataset": "letters.npz", "promote": "always"},
        {"dataset": "letters.npz", "model": "letters", "settings": {"layers": [784, 8, 26]}},
        {"dataset": "rare.npz", "settings": {"validation_share": 0.0}},
        {"start_from": "production"},
        {"recipe": "coursera_binary", "model": "pair"},
        {"recipe": "quick"},
    ],
)
def test_what_can_succeed_is_not_refused(place: Place, body: dict[str, Any]) -> None:
    assert asked(place, **body).model == body.get("model", "mnist")


@pytest.mark.parametrize("name", ["dropout", "validation_share", "label_smoothing"])
def test_a_range_with_an_impossible_end_is_refused_whatever_is_drawn(place: Place, name: str) -> None:
    for seed in range(3):
        search = SearchBody(space={name: {"low": 0.1, "high": 1.01}}, trials=1, seed=seed)
        with pytest.raises(UnprocessableContent) as caught:
            asked(place, search=search)
        assert caught.value.field == name


def test_each_trial_is_held_against_the_data(place: Place) -> None:
    search = SearchBody(space={"layers": [[784, 8, 10], [784, 8, 9]]})
    with pytest.raises(UnprocessableContent, match="the last of layers is 9"):
        asked(place, search=search)


def test_samples_of_classes_that_the_data_set_has_not_are_told(place: Place, digits: Dataset) -> None:
    place[1].add("letters", digits.images[0], "Ä", Provenance("by-hand"))
    with pytest.raises(UnprocessableContent, match="there are samples of Ä") as caught:
        asked(place, dataset="letters.npz", model="letters", include_samples=True)
    assert caught.value.field == "include_samples"


def test_a_check_opens_no_more_than_a_thousand_pictures(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    look = Image.open

    def counted(path: Path) -> Image.Image:
        opened.append(path)
        return look(path)

    monkeypatch.setattr(Image, "open", counted)
    asked(place, dataset="pictures")
    assert len(opened) == 60
    monkeypatch.setattr("training.data.survey._MAX_OPENED", 7)
    opened.clear()
    asked(place, dataset="pictures")
    assert len(opened) == 7


def test_a_model_of_letters_learns_further_and_the_gate_compares(place: Place) -> None:
    registry, _, settings = place
    first = asked(place, dataset="letters.npz", model="letters", settings={"epochs": 1})
    publish_from(registry, first, settings)
    assert decide_promotion(registry, "production", first, 1, GatePolicy(datasets_dir=settings.datasets_dir)).promoted
    for body in (
        {"recipe": "starter", "dataset": "letters.npz", "start_from": "production"},
        {"recipe": "corrections"},
        {"recipe": "corrections", "dataset": "letters.npz"},
    ):
        request = asked(place, model="letters", settings={"epochs": 1}, **body)
        assert request.settings["data"] == "letters.npz"
        version = publish_from(registry, request, settings)
        verdict = decide_promotion(
            registry, "production", request, version, GatePolicy(datasets_dir=settings.datasets_dir)
        )
        assert verdict.metrics["examples"] == 52, verdict.reason
        assert "at least as good" in str(verdict.reason) or "not as good" in str(verdict.reason)


def test_corrections_hold_out_what_the_version_held_out(place: Place) -> None:
    registry, _, _ = place
    weights, details = half_trained(seed=1)

    def serve(**told: Any) -> None:
        version = registry.publish("third", weights, details | ({"settings": told} if told else {})).version
        registry.promote("third", "production", version)

    serve()
    assert "data" not in asked(place, recipe="corrections", model="third").settings  # the version tells of none
    serve(data="starter", validation_share=0.2, split_seed=42, epochs=3)
    taken = asked(place, recipe="corrections", model="third").settings
    assert (taken["data"], taken["validation_share"]) == ("starter", 0.2)
    assert "epochs" not in taken
    own = asked(place, recipe="corrections", model="third", settings={"validation_share": 0.1})
    assert own.settings["validation_share"] == 0.1
    serve(data="gone.npz")
    with pytest.raises(UnprocessableContent, match="the data set of version 3 is not here; name another one"):
        asked(place, recipe="corrections", model="third")


def test_a_request_that_was_checked_is_checked_again_to_the_same(place: Place) -> None:
    registry, samples, settings = place
    once = asked(place, dataset="letters.npz", model="letters")
    assert validate_request(replace(once), registry, samples, settings) == once
    assert registry.manifest("mnist", 1).labels == DIGITS
