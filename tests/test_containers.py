"""The image and the compose file, really built and run."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.composing import ROOT, Composed, docker, engine_answers
from tests.fleet import tell
from tests.service.conftest import png, submitted, wait_until
from training import Dataset
from training.data import load_dataset

IMAGE, BASE = "glyphserve:latest", "python:3.11-slim"
AGAIN, LAYERS = "glyphserve:again", "{{json .RootFS.Layers}}"
URL = "http://127.0.0.1:8000"

pytestmark = pytest.mark.docker


one = Composed("glyphserve-test", ("docker-compose.yml",))


@pytest.fixture(scope="module")
def composed() -> Iterator[httpx.Client]:
    if not engine_answers():
        pytest.skip("no Docker Engine answers here")
    one.run("down", "--volumes")
    one.run("up", "--build", "--detach")
    try:
        with httpx.Client(base_url=URL, timeout=60) as client:
            wait_until(lambda: is_ready(client), "the container to be ready")
            yield client
    finally:
        one.run("down", "--volumes")


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("starter").train


def test_it_predicts_trains_restarts_and_answers_by_the_new_model(composed: httpx.Client, digits: Dataset) -> None:
    files = {"file": ("digit.png", png(digits.images[0]), "image/png")}
    assert composed.post("/predict", files=files).json()["version"] == 1
    body = {"settings": {"epochs": 3}, "promote": "always"}
    wait_until(lambda: composed.post("/train", json=body | {"recipe": "x"}).status_code == 422, "the routes")
    job = submitted(composed, body)
    done = wait_until(lambda: j if (j := composed.get(f"/train/{job['id']}").json())["finished"] else None, "its end")
    assert done["state"] == "succeeded", json.dumps(done)
    wait_until(lambda: composed.post("/predict", files=files).json()["version"] == done["version"], "the swap")
    one.run("restart")
    wait_until(lambda: is_ready(composed), "the restarted container")
    answer = composed.post("/predict", files=files).json()
    assert answer["version"] == done["version"] > 1
    assert answer["label"] == str(digits.labels[0])
    wait_until(lambda: composed.get(f"/train/{job['id']}").status_code == 200, "the jobs database")
    assert composed.get(f"/train/{job['id']}").json()["state"] == "succeeded"


def test_it_runs_without_rights_that_it_does_not_need(composed: httpx.Client) -> None:
    assert composed.get("/health/live").status_code == 200
    assert one.inspected("glyphserve", "{{.Config.User}}") == "10001:10001"
    assert one.inspected("glyphserve", "{{.HostConfig.ReadonlyRootfs}}") == "true"
    assert one.inspected("glyphserve", "{{.HostConfig.CapDrop}}") == "[ALL]"
    wait_until(lambda: one.inspected("glyphserve", "{{.State.Health.Status}}") == "healthy", "the health check")


def test_it_stops_in_time_with_code_0(composed: httpx.Client) -> None:
    assert composed.get("/health/live").status_code == 200
    one.run("stop")
    assert one.inspected("glyphserve", "{{.State.ExitCode}}") == "0", "137: it was killed when its time was over"
    one.run("start")
    wait_until(lambda: is_ready(composed), "the started container")


def test_it_predicts_and_trains_as_any_user_without_the_systems_programs(composed: httpx.Client) -> None:
    assert composed.get("/health/live").status_code == 200  # the image is built
    options = ["--user", "54321:54321", "--read-only", "--tmpfs", "/tmp", "--tmpfs", "/usr/bin", "--cap-drop", "ALL"]  # noqa: S108
    options += ["--publish", "127.0.0.1::8000", "--detach", "--init"]
    name = docker("run", *options, IMAGE).stdout.decode().strip()
    try:
        address = docker("port", name, "8000").stdout.decode().split()[0]
        with httpx.Client(base_url=f"http://{address}", timeout=60) as client:
            wait_until(lambda: is_ready(client), "the container of another user")
            body = {"settings": {"epochs": 1}, "promote": "never"}
            job = submitted(client, body)
            path = f"/train/{job['id']}"
            done = wait_until(lambda: j if (j := client.get(path).json())["finished"] else None, "its end")
            assert done["state"] == "succeeded", json.dumps(done)
        assert docker("exec", name, "sh", "-c", "true", check=False).returncode != 0
    finally:
        docker("rm", "--force", "--volumes", name)


def test_the_image_weighs_little_more_than_its_base(composed: httpx.Client) -> None:
    assert composed.get("/health/live").status_code == 200
    sizes = [int(docker("image", "inspect", "--format", "{{.Size}}", name).stdout) for name in (IMAGE, BASE)]
    assert sizes[0] - sizes[1] <= 180e6


def test_the_image_is_the_same_to_the_bit_when_it_is_built_again(composed: httpx.Client) -> None:
    """Without the cache, so that all is fetched, built and installed anew; layers are named by their content's hash."""
    assert composed.get("/health/live").status_code == 200
    docker("build", "--no-cache", "--tag", AGAIN, str(ROOT))
    try:
        layers = [
            json.loads(docker("image", "inspect", "--format", LAYERS, name).stdout) for name in (IMAGE, AGAIN, BASE)
        ]
    finally:
        docker("rmi", AGAIN)
    above = [made[len(layers[2]) :] for made in layers[:2]]
    tell(f"built twice: {', '.join(layer for made in above for layer in made)}")
    assert len(above[0]) == 1
    assert above[0] == above[1]
