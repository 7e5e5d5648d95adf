"""Data sets by name: what is in the operator's folder can be learned from, and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.errors import UnprocessableContent
from service.jobs.datasets import BUNDLED, dataset_names, resolve, resolve_recipe
from tests.service.conftest import Server, running_server
from tests.service.processes import QUICK
from tests.service.test_predict import assert_problem
from training import Dataset, recipes
from training.data import save_image_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Path:
    folder = tmp_path_factory.mktemp("datasets")
    some = digits.select(np.arange(400))
    np.savez(folder / "some.npz", images=some.images, labels=some.labels)
    save_image_folder(digits.select(np.arange(100)), folder / "pictures")
    save_image_folder(digits.select(np.arange(100)), folder / "broken")
    torn = next((folder / "broken" / "3").glob("*.png"))
    torn.write_bytes(torn.read_bytes()[:-60])
    (folder / "notes.txt").write_text("no data set")
    (folder / ".hidden").mkdir()
    return folder


@pytest.fixture(scope="module")
def mounted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLYPHSERVE_DATASETS_DIR", str(folder))
        with running_server(tmp_path_factory.mktemp("mounted") / "home") as server:
            yield server


def test_names_are_those_of_the_library_and_of_the_folder(folder: Path) -> None:
    assert dataset_names(folder) == [*BUNDLED, "broken", "pictures", "some.npz"]
    assert dataset_names(None) == dataset_names(folder / "nowhere") == list(BUNDLED)


@pytest.mark.parametrize(
    "name", ["../datasets", "..", ".", "", ".hidden", "notes.txt", "/etc", "pictures/3", "some", "x" * 200, "a\0b"]
)
def test_what_is_no_name_of_a_data_set_there_is_refused(name: str, folder: Path) -> None:
    with pytest.raises(UnprocessableContent, match="no data set"):
        resolve(name, folder)
    with pytest.raises(UnprocessableContent, match="no data set"):
        resolve(name, None)


def test_a_recipe_is_located_where_its_data_set_lies_and_a_path_is_left_alone(folder: Path) -> None:
    starter = recipes.get("starter")
    assert resolve_recipe(starter.replace(data="some.npz"), folder).data.data == str(folder / "some.npz")
    assert resolve_recipe(starter.replace(data="/a/path"), folder).data.data == "/a/path"
    assert resolve_recipe(starter, folder).data.data == "starter"


@pytest.mark.parametrize("name", ["some.npz", "pictures"])
def test_a_job_learns_from_a_named_data_set_and_tells_its_name_alone(mounted: Server, name: str, folder: Path) -> None:
    assert name in mounted.http.get("/train/datasets").json()["datasets"]
    done = mounted.wait_for(mounted.submit(settings=QUICK, dataset=name, model="named")["id"], "succeeded", "rejected")
    version = mounted.http.get(f"/models/named/versions/{done['version']}")
    assert version.json()["manifest"]["settings"]["data"] == name
    assert str(folder) not in version.text


def test_a_broken_data_set_fails_the_job_with_the_file_and_the_reason(mounted: Server, folder: Path) -> None:
    failed = mounted.wait_for(mounted.submit(settings=QUICK, dataset="broken")["id"], "failed")
    assert failed["detail"].startswith("broken/3/")
    assert "is damaged" in failed["detail"]
    assert str(folder) not in failed["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"dataset": "other"}, "dataset"),
        ({"dataset": "../datasets"}, "dataset"),
        ({"settings": {"data": "other"}}, "data"),
        ({"settings": {"data": "/etc"}}, "data"),
    ],
)
def test_other_names_are_refused_before_a_job_is_queued(mounted: Server, body: dict[str, object], field: str) -> None:
    assert assert_problem(mounted.http.post("/train", json=body), 422, "invalid_input")["field"] == field
