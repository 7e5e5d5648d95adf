"""The clients that the protocols were made for, unmodified, each against a really started server.

What they check stands in `with_<client>.py`, run by the Python of the client's own environment.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clients.environments import python_of
from tests.service.conftest import Server, png, running_server
from training import load
from training.data import load_dataset
from training.recipes.model_zoo import models_dir

HERE = Path(__file__).parent
ROWS = 12
TIMEOUT_SECONDS = 240

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("clients") / "home", "--no-worker") as server:
        yield server


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits, the same as files, and what training's `predict` says of them by the released weights."""
    newest = max((models_dir() / "mnist").glob("[0-9]*"), key=lambda folder: int(folder.name))
    network = load((newest / "weights.npz").read_bytes())
    images = load_dataset("starter").train.images[:ROWS]
    arrays: dict[str, Any] = {f"file{row:03}": np.frombuffer(png(image), np.uint8) for row, image in enumerate(images)}
    path = tmp_path_factory.mktemp("expected") / "expected.npz"
    answers = network.predict(network.config.input.to_features(images))
    np.savez(path, images=images, expected=answers, **arrays)
    return path


@pytest.mark.parametrize(
    ("environment", "script"),
    [
        ("triton", "with_triton.py"),
        ("kserve", "with_kserve.py"),
        ("mlserver", "with_mlserver.py"),
        ("tensorflow", "with_requests.py"),
    ],
)
def test_an_unmodified_client_gets_the_answers_of_training(
    environment: str, script: str, serving: Server, expected: Path
) -> None:
    python = python_of(environment)
    address = serving.url.removeprefix("http://")
    done = subprocess.run(
        [python, HERE / script, address, "mnist", expected],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sys.stdout.write("\n" + done.stdout)  # what was certified, shown with -s
