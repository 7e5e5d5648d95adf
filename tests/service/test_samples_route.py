"""Samples over HTTP: sent in every form, put right by a request id, listed, exported, deleted, and refused."""

import asyncio
import base64
import io
import queue
import threading
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from service.api.app import create_app
from service.services import Services
from service.settings import Settings
from tests.service.conftest import half_trained, png, running_server
from tests.service.test_predict import assert_problem
from training import Dataset
from training.data import load_dataset


async def send(client: httpx.AsyncClient, digits: Dataset, *rows: int) -> list[dict[str, Any]]:
    answers = []
    for row in rows:
        body = {"pixels": digits.images[row].tolist(), "label": str(digits.labels[row])}
        answer = await client.post("/samples", json=body)
        assert answer.status_code == 201, answer.text
        answers.append(answer.json())
    return answers


async def test_every_form_of_one_picture_is_the_same_sample(client: httpx.AsyncClient, digits: Dataset) -> None:
    content = png(digits.images[5])
    label = str(digits.labels[5])
    answers = [
        await client.post("/samples", files={"file": ("digit.png", content, "image/png")}, data={"label": label}),
        await client.post("/samples", files={"file": ("digit.png", content)}, params={"label": label}),
        await client.post("/samples", content=content, headers={"Content-Type": "image/png"}, params={"label": label}),
        await client.post("/samples", json={"pixels": digits.images[5].tolist(), "label": label}),
        await client.post("/samples", json={"image": base64.b64encode(content).decode(), "label": label}),
        await client.post("/samples", json={"image": base64.b64encode(content).decode()}, params={"label": label}),
    ]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 200, 200]
    first = answers[0].json()
    assert {answer.json()["id"] for answer in answers} == {first["id"]}
    assert first["label"] == label
    assert first["source"]["request_id"] == answers[0].headers["x-request-id"]
    assert (first["source"]["version"], first["source"]["answered"]) == (1, label)
    assert (await client.get(answers[0].headers["location"])).json() == first
    picture = await client.get(first["picture"])
    assert picture.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(picture.content)) as image:
        np.testing.assert_array_equal(np.array(image), digits.images[5])


async def test_a_correction_by_request_id_goes_to_the_model_that_answered(
    app: FastAPI, client: httpx.AsyncClient, digits: Dataset
) -> None:
    services: Services = app.state.services
    weights, details = half_trained(labels=4)
    services.registry.publish("letters", weights, details | {"labels": ["a", "b", "c", "d"]})
    read = await client.post("/predict?model=letters&version=1", json={"pixels": digits.images[0].tolist()})
    body = {"request_id": read.raise_for_status().json()["request_id"], "label": "b"}
    sample = (await client.post("/samples", json=body)).raise_for_status().json()
    assert (sample["model"], sample["label"]) == ("letters", "b")
    assert (await client.get("/samples")).json()["count"] == 0
    assert (await client.get("/samples?model=letters")).json()["counts"] == {"b": 1}
    assert_problem(await client.post("/samples", json=body | {"label": "7"}), 422, "invalid_input")
    other = assert_problem(await client.post("/samples?model=mnist", json=body), 422, "invalid_input")
    assert other["field"] == "request_id"
    assert "answered by the model letters" in other["detail"]


async def test_a_prediction_is_put_right_by_its_request_id(client: httpx.AsyncClient, digits: Dataset) -> None:
    read = (await client.post("/predict", json={"pixels": digits.images[3].tolist()})).json()
    sample = (await client.post("/samples", json={"request_id": read["request_id"], "label": "8"})).json()
    source = sample["source"]
    assert source["request_id"] == read["request_id"]
    assert (source["version"], source["answered"]) == (read["version"], read["label"])
    assert source["confidence"] == pytest.approx(read["confidence"])
    with Image.open(io.BytesIO((await client.get(sample["picture"])).content)) as image:
        np.testing.assert_array_equal(np.array(image), digits.images[3])
    batch = (await client.post("/predict", json={"instances": digits.images[:4].tolist()})).json()
    body = {"request_id": batch["request_id"], "index": 3, "label": "5"}
    again = await client.post("/samples", json=body)
    assert (again.status_code, again.json()["id"]) == (201, sample["id"])
    assert [said["label"] for said in again.json()["history"]] == ["5", "8"]
    other = (await client.post("/samples", json=body | {"index": 0})).json()
    assert other["id"] != sample["id"]


async def test_samples_are_listed_page_by_page_and_counted(client: httpx.AsyncClient, digits: Dataset) -> None:
    sent = await send(client, digits, *range(10))
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = (await client.get("/samples", params={"limit": 4, **after})).json()
        seen += [sample["id"] for sample in page["samples"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
        if len(seen) == 4:  # what comes on top does not shift the pages
            await send(client, digits, 20)
    assert seen == [sample["id"] for sample in reversed(sent)]
    labels = [str(label) for label in digits.labels[[*range(10), 20]]]
    listed = (await client.get("/samples", params={"label": labels[0]})).json()
    assert listed["counts"] == {label: labels.count(label) for label in sorted(set(labels))}
    assert (listed["model"], listed["count"]) == ("mnist", 11)
    assert {sample["label"] for sample in listed["samples"]} == {labels[0]}


@pytest.mark.parametrize("after", ["", "zzz", "0", "1-", "0" * 16, "0" * 16 + "-x", "-1-" + "0" * 32, "~"])
@pytest.mark.parametrize("path", ["/samples", "/train", "/train/datasets", "/models/mnist"])
async def test_a_place_that_a_list_never_gives_is_refused(path: str, after: str, client: httpx.AsyncClient) -> None:
    answer = await client.get(path, params={"after": after})
    assert_problem(answer, 422, "invalid_input")
    assert answer.json()["field"] == "after"


async def test_the_export_is_an_image_folder_that_training_reads_bit_for_bit(
    client: httpx.AsyncClient, digits: Dataset, tmp_path: Path
) -> None:
    await send(client, digits, *range(40))
    answer = await client.get("/samples/export")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path / "folder")
    read = load_dataset(str(tmp_path / "folder")).train
    expected = {(digits.images[row].tobytes(), str(digits.labels[row])) for row in range(40)}
    assert {(i.tobytes(), read.classes[n]) for i, n in zip(read.images, read.labels, strict=True)} == expected


async def test_samples_are_deleted_one_by_one_by_label_by_age_or_all(
    client: httpx.AsyncClient, digits: Dataset
) -> None:
    first, second, *rest = await send(client, digits, *range(12))
    gone = f"/samples/{first['id']}"
    assert (await client.delete(gone)).status_code == 204
    assert_problem(await client.get(gone), 404, "not_found")
    assert_problem(await client.delete(gone), 404, "not_found")
    same = sum(sample["label"] == second["label"] for sample in (second, *rest))
    assert (await client.delete("/samples", params={"label": second["label"]})).json() == {"deleted": same}
    assert (await client.delete("/samples", params={"older_than_days": 1})).json() == {"deleted": 0}
    assert_problem(await client.delete("/samples"), 422, "invalid_input")
    deleted = (await client.delete("/samples", params={"everything": True})).json()
    assert deleted == {"deleted": 11 - same}


async def test_two_that_send_the_same_picture_at_once_make_one_sample(
    client: httpx.AsyncClient, digits: Dataset
) -> None:
    body = {"pixels": digits.images[0].tolist(), "label": "3"}
    answers = await asyncio.gather(*(client.post("/samples", json=body) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] * 11 + [201]
    assert (await client.get("/samples")).json()["counts"] == {"3": 1}


PIXELS = [[0] * 28 for _ in range(27)] + [[255] * 28]


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"pixels": PIXELS}, 422, "invalid_input", "label"),
        ({"pixels": PIXELS, "label": 7}, 422, "invalid_input", "label"),
        ({"pixels": PIXELS, "label": "seven"}, 422, "invalid_input", "label"),
        ({"pixels": [1, 2], "label": "7"}, 422, "invalid_input", None),
        ({"pixels": [0] * 784, "label": "7"}, 422, "blank_image", None),
        ({"image": "!", "label": "7"}, 422, "invalid_image", None),
        ({"image": base64.b64encode(b"GIF89a").decode(), "label": "7"}, 422, "invalid_image", None),
        ({"instances": [PIXELS, PIXELS], "label": "7"}, 422, "invalid_input", "label"),
        ({"label": "7"}, 422, "invalid_input", None),
        ({"request_id": "nobody", "label": "7"}, 404, "not_found", None),
        ({"request_id": "nobody", "label": "x"}, 404, "not_found", None),
        ({"request_id": 7, "label": "7"}, 422, "invalid_input", "request_id"),
        ({"request_id": "nobody", "label": "7", "index": -1}, 422, "invalid_input", "index"),
        ({"request_id": "nobody", "label": "7", "index": True}, 422, "invalid_input", "index"),
        ({"request_id": "nobody", "label": "7", "pixels": PIXELS}, 422, "invalid_input", "pixels"),
        ([], 422, "invalid_input", None),
    ],
)
async def test_what_is_no_correction_is_refused_by_field(
    client: httpx.AsyncClient, body: Any, status: int, code: str, field: str | None
) -> None:
    problem = assert_problem(await client.post("/samples", json=body), status, code)
    assert problem.get("field") == field
    assert (await client.get("/samples")).json()["count"] == 0


async def test_an_unknown_label_is_answered_with_those_that_are_known(client: httpx.AsyncClient) -> None:
    problem = assert_problem(await client.post("/samples", json={"pixels": PIXELS, "label": "x"}), 422)
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in problem["detail"]


async def test_broken_requests_are_refused(client: httpx.AsyncClient, digits: Dataset) -> None:
    image = png(digits.images[0])
    as_png = {"Content-Type": "image/png"}
    for answer, status in (
        (await client.post("/samples", content=b"{", headers={"Content-Type": "application/json"}), 400),
        (await client.post("/samples", content=b"x", headers={"Content-Type": "text/plain"}), 415),
        (await client.post("/samples?label=7", content=b"text", headers=as_png), 415),
        (await client.post("/samples?label=7", content=image[:60], headers=as_png), 422),
        (await client.post("/samples", content=image, headers=as_png), 422),
        (await client.post("/samples?label=1", json={"pixels": PIXELS, "label": "7"}), 422),
        (await client.post("/samples?label=7", content=b"\x89PNG" + bytes(2**20), headers=as_png), 413),
        (await client.post("/samples?label=7", content=bytes(9 * 2**20), headers=as_png), 413),
        (await client.post("/samples?model=nothing", json={"pixels": PIXELS, "label": "7"}), 404),
        (await client.post("/samples?model=../x", json={"pixels": PIXELS, "label": "7"}), 422),
        (await client.post("/samples", data={"label": "7"}), 415),
        (await client.post("/samples", files={"label": ("7", image)}), 422),
        (await client.get("/samples/xyz"), 422),
        (await client.get(f"/samples/{'0' * 32}/picture.png"), 404),
        (await client.get("/samples?limit=0"), 422),
        (await client.get("/samples?model=.."), 422),
        (await client.put("/samples"), 405),
        (await client.get("/samples?model=mnist%0A"), 422),
    ):
        assert_problem(answer, status)
    assert (await client.get("/samples")).json()["count"] == 0


async def test_the_methods_of_the_export_are_not_those_of_a_sample(client: httpx.AsyncClient) -> None:
    refused = await client.put("/samples/export")
    assert_problem(refused, 405)
    assert refused.headers["allow"] == "GET, HEAD"


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A service that keeps three samples and remembers two images."""
    settings = Settings(home=tmp_path / "small", max_samples=3, remembered_images=2)
    app: FastAPI = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        yield client


async def test_one_too_many_is_507_and_room_comes_back_by_deleting(small: httpx.AsyncClient, digits: Dataset) -> None:
    first, *_ = await send(small, digits, 0, 1, 2)
    body = {"pixels": digits.images[3].tolist(), "label": "3"}
    assert_problem(await small.post("/samples", json=body), 507, "samples_full")
    assert (await small.get("/samples")).json()["count"] == 3
    await small.delete(f"/samples/{first['id']}")
    assert (await small.post("/samples", json=body)).status_code == 201


async def test_an_image_is_forgotten_after_others(small: httpx.AsyncClient, digits: Dataset) -> None:
    ids = [
        (await small.post("/predict", json={"pixels": image.tolist()})).json()["request_id"]
        for image in digits.images[:3]
    ]
    problem = assert_problem(await small.post("/samples", json={"request_id": ids[0], "label": "1"}), 404, "not_found")
    assert "send the image itself" in problem["detail"]
    assert (await small.post("/samples", json={"request_id": ids[1], "label": "1"})).status_code == 201


async def test_samples_outlive_the_service(settings: Settings, digits: Dataset) -> None:
    for expected in (0, 1):
        app = create_app(settings)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
        ):
            assert (await client.get("/samples")).json()["count"] == expected
            if not expected:
                await send(client, digits, 0)


def send_until_cut(url: str, digits: Dataset, rows: range, acknowledged: "queue.Queue[tuple[str, str]]") -> None:
    """Send samples one after the other, and note those that were answered, until the service is gone."""
    with httpx.Client(base_url=url, timeout=60) as http:
        for row in rows:
            label = str(digits.labels[row])
            try:
                answer = http.post("/samples", json={"pixels": digits.images[row].tolist(), "label": label})
            except httpx.HTTPError:
                return
            acknowledged.put((answer.json()["id"], label))


@pytest.mark.slow
def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path: Path, digits: Dataset) -> None:
    home, sent = tmp_path / "home", dict[str, str]()
    for start in (0, 300, 600):
        with running_server(home, "--no-worker") as server:
            acknowledged: queue.Queue[tuple[str, str]] = queue.Queue()
            senders = [
                threading.Thread(
                    target=send_until_cut, args=(server.url, digits, range(start + n, start + 300, 4), acknowledged)
                )
                for n in range(4)
            ]
            for sender in senders:
                sender.start()
            sent |= dict(acknowledged.get(timeout=180) for _ in range(25))
            server.process.kill()
            for sender in senders:
                sender.join()
            sent |= dict(acknowledged.get() for _ in range(acknowledged.qsize()))
    with running_server(home, "--no-worker") as server:
        listed = server.http.get("/samples", params={"limit": 1000}).json()
        kept = {sample["id"]: sample["label"] for sample in listed["samples"]}
        exported = server.http.get("/samples/export").content
    assert len(sent) >= 75
    assert sent.items() <= kept.items()
    with zipfile.ZipFile(io.BytesIO(exported)) as archive:
        assert {Path(name).stem for name in archive.namelist()} == {*kept, "samples"}
