"""What tests of both halves need."""

import functools
import os
import signal
import ssl
from pathlib import Path

import pytest

# As the service runs. OpenBLAS's threads wait by spinning, which takes the processors from the tests beside them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from training.data import published_sets

# A shell's background job, and so all that it starts, ignores Ctrl-C, which tests send to what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests start some hundred processes. Where Python may not write bytecode, each would compile every module for itself,
# which is half of its start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


# Each client of httpx reads all certificates for itself, which takes 50 ms, and tests make some thousand clients.
ssl.create_default_context = functools.cache(ssl.create_default_context)  # type: ignore[assignment]


@pytest.fixture(scope="session")
def mnist_source() -> Path:
    """The folder with MNIST's four files; the test is skipped where they are neither given nor cached."""
    folder = published_sets.find_folder(published_sets.MNIST)
    if folder is None:
        pytest.skip("MNIST's IDX files are not here: set GLYPHSERVE_DATA_DIR or let `training` download them")
    return folder
