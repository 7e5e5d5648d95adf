"""Readers of training data and weights, held against NumPy and struct."""

import io
import struct
from contextlib import suppress

import numpy as np

from training.data import idx, npz
from training.data.dataset import TrainTest
from training.errors import DataError, WeightsError
from training.export.npz import load, to_bytes
from training.nn.config import MLPConfig
from training.nn.mlp import MLP

_NPZ = {"images": np.arange(3 * 784, dtype=np.uint8).reshape(3, 28, 28), "labels": np.array([0, 1, 2])}


def idx_files() -> list[bytes]:
    """Three dimensions and one."""
    images = struct.pack(">HBBIII", 0, 8, 3, 2, 28, 28) + bytes(2 * 784)
    return [images, struct.pack(">HBBI", 0, 8, 1, 5) + bytes(range(5))]


def check_idx(content: bytes) -> None:
    """What is read has the shape and the bytes of the file; else DataError."""
    for dimensions in (1, 3):
        with suppress(DataError):
            found = idx.parse(content, dimensions=dimensions, name="a")
            assert found.shape == struct.unpack_from(f">{dimensions}I", content, 4)
            assert found.tobytes() == content[4 + 4 * dimensions :]


def npz_files() -> list[bytes]:
    """Our own layout and Keras's, plain and packed, with names of classes and as text."""
    keras = {"x_train": _NPZ["images"], "y_train": _NPZ["labels"], "x_test": _NPZ["images"], "y_test": _NPZ["labels"]}
    floats = {"images": _NPZ["images"] / np.float32(255), "labels": np.array(["a", "b", "c"])}
    classes = np.array(["x", "y", "z"])
    return [_written(members) for members in (_NPZ, keras, floats, _NPZ | {"classes": classes})] + [_packed(_NPZ)]


def _written(members: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **members)
    return file.getvalue()


def _packed(members: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **members)
    return file.getvalue()


def check_npz(content: bytes) -> None:
    """What is read as pixels is what numpy.load reads; else DataError or ValueError."""
    try:
        source: TrainTest = npz.parse(io.BytesIO(content), "a")
    except ValueError:  # DataError among them
        return
    with np.load(io.BytesIO(content), allow_pickle=False) as members:
        images = next(members[name] for name in members.files if name.lower() in ("images", "x_train", "x"))
        if images.dtype == np.uint8:
            assert source.train.images.tobytes() == images.tobytes()


def weights_files() -> list[bytes]:
    """Write the weights of a small network."""
    return [to_bytes(MLP(MLPConfig(layers=(784, 4, 3))))]


def check_weights(content: bytes) -> None:
    """Weights are read, and written the same again; else WeightsError."""
    try:
        network = load(content)
    except WeightsError:
        return
    assert np.isfinite(network.parameters).all()
    assert np.array_equal(load(to_bytes(network)).parameters, network.parameters)
