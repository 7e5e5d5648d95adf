"""The event loop computes nothing that a thread can compute before, and imports nothing."""

import ast
import asyncio
import base64
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastapi.routing
import httpx
import pytest
from fastapi import FastAPI

from service.api import openapi
from service.api.app import create_app, prepare
from service.api.routes import image_payload
from service.inference import images, model_input
from service.services import Services
from service.serving import model
from service.serving.batch_invariant import Forward, batch_invariant_forward
from service.settings import Settings
from tests.hostile.pictures import chunk
from tests.service.conftest import half_trained, png
from training import MLP, Dataset

ROOT = Path(__file__).parents[2]
ALIAS = "/models/mnist/aliases/production"

TRIALS: list[dict[str, Any]] = [
    {"version": 1, "candidate": 2, "mode": "canary", "share": 1.0},
    {"version": 1},
    {"version": 1, "candidate": 2, "mode": "shadow"},
    {"version": 2},
    {"version": 2, "candidate": 1, "mode": "canary", "share": 0.5},
    {"version": 1},
]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads in which a network's outputs were tried out, one entry each time."""
    seen: list[int] = []

    def noted(network: MLP) -> Forward:
        seen.append(threading.get_ident())
        return batch_invariant_forward(network)

    monkeypatch.setattr(model, "batch_invariant_forward", noted)
    return seen


async def test_a_promotion_and_a_trial_leave_nothing_for_the_first_request_to_compute(
    threads: list[int], app: FastAPI, client: httpx.AsyncClient, digits: Dataset
) -> None:
    services: Services = app.state.services
    assert services.registry.publish("mnist", *half_trained()).version == 2
    body = {"pixels": digits.images[0].tolist()}
    for meaning in TRIALS:
        answer = await client.put(ALIAS, json=meaning)
        assert answer.status_code == 200, answer.text
        for query in ("", "?explain=true", "?version=1", "?version=2"):
            assert (await client.post(f"/predict{query}", json=body)).status_code == 200
    assert (await client.post(f"{ALIAS}/rollback")).status_code == 200
    assert (await client.post("/predict", json=body)).status_code == 200
    assert threading.get_ident() not in threads


async def test_a_copy_of_a_snapshot_keeps_its_outputs(app: FastAPI) -> None:
    services: Services = app.state.services
    serving = services.predictor.serving
    assert replace(serving, generation=7).forward is serving.forward


@pytest.mark.parametrize("package", ["registry", "serving", "transport", "inference", "samples", "observability"])
def test_nothing_that_serves_has_properties_that_are_computed_late(package: str) -> None:
    for path in (ROOT / "service" / package).glob("*.py"):
        names = {node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "") for node in _nodes(path)}
        assert "cached_property" not in names, path


def _nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


PICTURES = """
import io, subprocess, sys, json, base64
import service.server.uvicorn_server
from service.inference.images import ImageLimits, decode_glyph
made = subprocess.run([sys.executable, "-c", sys.argv[1]], capture_output=True, check=True).stdout
pictures = json.loads(made)
known = set(sys.modules)
for kind, picture in pictures.items():
    decode_glyph(base64.b64decode(picture), ImageLimits(2**20, 10**6, 1000))
    assert set(sys.modules) == known, (kind, sorted(set(sys.modules) - known))
print(*pictures)
"""
MADE = """
import base64, io, json
from PIL import Image
gray = Image.new("L", (40, 40), 0)
gray.paste(255, (18, 8, 22, 30))
exif = Image.Exif()
exif[0x0112] = 6
made = {}
def save(name, image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    made[name] = base64.b64encode(file.getvalue()).decode()
for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP"):
    save(kind, gray, kind)
for kind in ("PNG", "JPEG", "WEBP"):
    save(kind + " with EXIF", gray, kind, exif=exif)
for mode in ("1", "P", "RGB", "RGBA", "LA"):
    save("PNG " + mode, gray.convert(mode), "PNG")
save("PNG I;16", gray.convert("I").point(lambda value: value * 257).convert("I;16"), "PNG")
save("CMYK", gray.convert("CMYK"), "JPEG")
save("MPO", gray, "MPO", save_all=True, append_images=[gray])
print(json.dumps(made))
"""


def test_the_first_picture_of_each_kind_imports_nothing() -> None:
    run = subprocess.run([sys.executable, "-c", PICTURES, MADE], capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert "MPO" in run.stdout


async def test_the_description_of_the_interface_is_made_in_a_thread(
    app: FastAPI, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    make = openapi._description

    def noted(described: FastAPI) -> dict[str, Any]:
        seen.append(threading.get_ident())
        return make(described)

    monkeypatch.setattr(openapi, "_description", noted)
    first = await client.get("/openapi.json")
    again = await client.get("/openapi.json")
    assert first.json() == again.json() == app.openapi()
    assert len(seen) == 1
    assert threading.get_ident() not in seen


LOOP_WAYS: dict[str, Any] = {
    "body": ("/predict", lambda file: {"content": file, "headers": {"content-type": "image/png"}}),
    "form": ("/predict", lambda file: {"files": [("file", ("a.png", file))]}),
    "image": ("/predict", lambda file: {"json": {"image": base64.b64encode(file).decode()}}),
    "images": ("/predict", lambda file: {"json": {"images": [base64.b64encode(file).decode()]}}),
    "sample": ("/samples?label=1", lambda file: {"json": {"image": base64.b64encode(file).decode(), "label": "1"}}),
    "sample body": ("/samples?label=1", lambda file: {"content": file, "headers": {"content-type": "image/png"}}),
    "V1": (
        "/v1/models/mnist:predict",
        lambda file: {"json": {"instances": [{"b64": base64.b64encode(file).decode()}]}},
    ),
    "V2": (
        "/v2/models/mnist/infer",
        lambda file: {
            "json": {
                "inputs": [
                    {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(file).decode()]}
                ]
            }
        },
    ),
}


@pytest.mark.parametrize("way", LOOP_WAYS)
async def test_what_may_take_long_to_open_or_to_decode_is_read_in_a_thread(
    way: str, client: httpx.AsyncClient, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def noted(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            seen.append(threading.get_ident())
            return step(*given)

        return run

    for room in (image_payload, model_input):
        monkeypatch.setattr(room, "open_image", noted(images.open_image))
    monkeypatch.setattr(images.LazyImage, "to_grayscale", noted(images.LazyImage.to_grayscale))
    file = png(digits.images[0])
    notes = chunk(b"tEXt", b"a\0" + bytes(60)) * 300  # 300 chunks for Pillow to take in, on each side of the data
    long = file[:33] + notes + file[33:-12] + notes + file[-12:]
    path, body = LOOP_WAYS[way]
    answer = await client.post(path, **body(long))
    assert answer.is_success, answer.text
    assert len(seen) == 2
    assert threading.get_ident() not in seen


async def test_the_first_request_finds_every_route_complete(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(settings)
    await asyncio.to_thread(prepare, app)
    with monkeypatch.context() as patch:
        patch.setattr(fastapi.routing, "get_dependant", None)  # what FastAPI completes a route by
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            assert (await client.get("/nothing")).status_code == 404
            assert (await client.get("/health/live")).status_code == 200


async def test_what_is_in_memory_is_verified_and_not_loaded_again(
    threads: list[int], app: FastAPI, client: httpx.AsyncClient
) -> None:
    services: Services = app.state.services
    assert services.registry.publish("mnist", *half_trained()).version == 2
    for version in (2, 1, 2):
        assert (await client.put(ALIAS, json={"version": version})).status_code == 200
    assert len(threads) == 2  # version 1 as the service started, version 2 when it was promoted
    weights = Path(services.settings.store_location, "models", "mnist", "1", "weights.npz")
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert (await client.put(ALIAS, json={"version": 1})).status_code == 503
