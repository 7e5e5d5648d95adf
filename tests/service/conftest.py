"""A real application on a real store, and a really started server."""

import io
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from service.api.app import create_app
from service.registry.bundled import install_bundled_models
from service.registry.registry import Registry
from service.registry.store import Store, open_store
from service.settings import Settings
from tests.service.browsing import browser, page
from tests.service.s3 import fresh_location, s3, s3_server
from training import Dataset
from training.data import load_dataset
from training.types import Pixels

__all__ = ["browser", "page", "s3", "s3_server"]  # fixtures that live in rooms of their own

COMMAND = (sys.executable, "-P", "-m", "service")
"""`glyphserve`, as its own processes are started."""
PATIENCE_SECONDS = 180.0  # no test is about speed: what happens at once on a free machine takes long on a busy one


def wait_until(check: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Ask until there is a true answer, and give it."""
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)
    return answer


def png(picture: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("starter").train


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind: what stands on it must do the same on both."""
    if request.param == "folder":
        return str(tmp_path / "store")
    request.getfixturevalue("s3")
    return fresh_location()


@pytest.fixture
def store(location: str) -> Store:
    return open_store(location)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", alias_poll_seconds=0.1)


@pytest.fixture(scope="session")
def released_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that has the released models, to be copied: verifying them anew for each test takes longer than most."""
    folder = tmp_path_factory.mktemp("released") / "store"
    install_bundled_models(Registry(open_store(str(folder))), Settings().alias)
    return folder


@pytest.fixture
async def app(settings: Settings, released_store: Path) -> AsyncIterator[FastAPI]:
    if not Path(settings.store_location).exists():
        shutil.copytree(released_store, settings.store_location)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client


def submitted(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    """Queue a job, asking again with the same key while the service or its database is too busy to say."""
    headers = {"Idempotency-Key": secrets.token_hex(8)}

    def ask() -> httpx.Response | None:
        answer = client.post("/train", json=body, headers=headers)
        return None if answer.status_code == 503 else answer

    answer = wait_until(ask, "the jobs database")
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


class Server:
    """`glyphserve serve` as a process, and a client for it."""

    def __init__(
        self,
        home: Path,
        *arguments: str,
        command: Sequence[str] = COMMAND,
        folder: Path | None = None,
        until: str = "ready at",
    ) -> None:
        """Start it, and wait until it says where it is ready, or something else."""
        self.home = home
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [*command, "serve", "--home", str(home), "--port", "0", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"GLYPHSERVE_ALIAS_POLL_SECONDS": "0.1"},
        )
        assert self.process.stdout is not None
        self.output = ""
        for line in self.process.stdout:
            self.output += line
            if until in line:
                break
        assert until in self.output, self.output
        self.url = re.findall(r"http://[^\s/]+:\d+", self.output)[-1]
        self.http = httpx.Client(base_url=self.url, timeout=60)

    def submit(self, **body: Any) -> dict[str, Any]:
        """Queue a job."""
        return submitted(self.http, body)

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.http.get(f"/train/{job_id}").json())

    def wait_for(self, job_id: str, *states: str) -> dict[str, Any]:
        final = ("succeeded", "failed", "cancelled", "rejected")
        job = wait_until(lambda: j if (j := self.job(job_id))["state"] in (*states, *final) else None, str(states))
        assert job["state"] in states, json.dumps(job)
        return dict(job)

    def stop(self) -> int:
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        rest, _ = self.process.communicate(timeout=180)
        self.output += rest or ""
        return self.process.returncode


@contextmanager
def running_server(
    home: Path, *arguments: str, command: Sequence[str] = COMMAND, folder: Path | None = None
) -> Iterator[Server]:
    server = Server(home, *arguments, command=command, folder=folder)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server") / "home") as server:
        yield server


def half_trained(labels: int = 10, seed: int = 0) -> tuple[bytes, dict[str, Any]]:
    """A network that nobody trained, with its manifest: enough to move versions about."""
    from hashlib import sha256

    from training import MLP, MLPConfig
    from training.export.npz import to_bytes

    weights = to_bytes(MLP(MLPConfig((784, 8, labels)), np.random.default_rng(seed)))
    return weights, {"labels": [str(n) for n in range(labels)], "weights_sha256": sha256(weights).hexdigest()}


def publish_many(folder: Path, name: str, numbers: range) -> None:
    """Write versions of one network into a store on a disk as `Registry.publish` does, without its checks."""
    weights, details = half_trained()
    (folder / "models" / name).mkdir(parents=True, exist_ok=True)
    first = folder / "models" / name / "weights"
    first.write_bytes(weights)
    for number in numbers:
        version = folder / "models" / name / str(number)
        version.mkdir()
        os.link(first, version / "weights.npz")
        manifest = details | {"name": name, "version": number, "job_id": None, "note": "x" * 1500}
        (version / "manifest.json").write_text(json.dumps(manifest))
    first.unlink()
