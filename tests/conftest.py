"""What tests of both halves need."""

from pathlib import Path

import pytest

from training.data import mnist


@pytest.fixture(scope="session")
def mnist_source() -> Path:
    """The folder with MNIST's four files; the test is skipped where they are neither given nor cached."""
    folder = mnist.find_folder(mnist.MNIST)
    if folder is None:
        pytest.skip("MNIST's IDX files are not here: set GLYPHSERVE_DATA_DIR or let `training` download them")
    return folder
