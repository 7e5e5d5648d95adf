import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.atomic import write_atomically
from training.errors import WeightsError
from training.export.npz import load, save, to_bytes
from training.nn.config import MLPConfig
from training.nn.mlp import MLP
from training.vision.input_spec import InputSpec

CONFIG = MLPConfig((9, 6, 6, 3), batch_norm=True, residual=True, input=InputSpec(side=20, low=-1.0))


@pytest.fixture
def network(rng: np.random.Generator) -> MLP:
    network = MLP(CONFIG, 0)
    network.forward(rng.normal(size=(8, 9)).astype(np.float32), rng)  # so that the running statistics are not trivial
    return network


def test_what_is_loaded_predicts_the_same_bits(network: MLP, tmp_path: Path, rng: np.random.Generator) -> None:
    content = save(network, tmp_path / "deep" / "weights.npz")
    loaded = load(tmp_path / "deep" / "weights.npz")
    x = rng.normal(size=(5, 9)).astype(np.float32)
    np.testing.assert_array_equal(loaded.predict(x), network.predict(x))
    assert loaded.config == network.config
    assert to_bytes(loaded) == content == (tmp_path / "deep" / "weights.npz").read_bytes()


def test_numpy_alone_can_open_it(network: MLP) -> None:
    with np.load(io.BytesIO(to_bytes(network)), allow_pickle=False) as members:
        header = json.loads(members["header"].tobytes())
        assert header["config"]["layers"] == [9, 6, 6, 3]
        np.testing.assert_array_equal(members["0.weight"], network.state_dict()["0.weight"])


def test_half_precision_halves_the_file_and_stays_close(network: MLP) -> None:
    half = load(to_bytes(network, np.float16))
    assert half.parameters.dtype == np.float32
    np.testing.assert_allclose(half.parameters, network.parameters, rtol=1e-3, atol=1e-6)


def test_every_truncation_is_refused_and_every_byte_flipped_is_refused_or_changes_nothing_but_values() -> None:
    network = MLP(MLPConfig((3, 2)), 0)
    content = to_bytes(network)
    for end in range(0, len(content), 7):
        with pytest.raises(WeightsError):
            load(content[:end])
    for place in range(0, len(content), 5):
        flipped = bytearray(content)
        flipped[place] ^= 0xFF
        try:
            loaded = load(bytes(flipped))
        except WeightsError:
            continue
        assert loaded.config.layers == (3, 2)
        np.testing.assert_array_equal(loaded.parameters, network.parameters)


def rewritten(content: bytes, change: Callable[[dict[str, np.ndarray]], None]) -> bytes:
    with np.load(io.BytesIO(content)) as members:
        arrays = dict(members)
    change(arrays)
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def header_with(**changes: Any) -> Callable[[dict[str, np.ndarray]], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        header = json.loads(arrays["header"].tobytes())
        for name, value in changes.items():
            (header if name in header else header["config"])[name] = value
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: a.pop("0.weight"), "expected the arrays"),
        (lambda a: a.update(extra=np.zeros(3)), "has extra.npy, which"),
        (lambda a: a.update({"../../x": np.zeros(3)}), "x.npy, which"),
        (lambda a: a.update({"0.weight": a["0.weight"].T}), "should be float32"),
        (lambda a: a.update({"0.weight": a["0.weight"].astype(int)}), "should be float32"),
        (lambda a: a.update({"0.weight": a["0.weight"] * np.float32(np.nan)}), "not finite"),
        (lambda a: a.update({"1.layers": np.zeros(10**6)}), "more than such a network can have"),
        (lambda a: a.pop("header"), "no header"),
        (lambda a: a.update(header=np.zeros(10**5, np.uint8)), "more than it can have"),
        (lambda a: a.update(header=np.frombuffer(b"{", np.uint8)), "not a weights file"),
        (header_with(version=2), "version 2"),
        (header_with(format="other"), "found other"),
        (header_with(layers=[9, 0, 3]), "positive whole numbers"),
        (header_with(layers=[10**9, 10**9]), "more than 100,000,000 parameters"),
        (header_with(activation="evil"), "unknown activation"),
        (header_with(preprocessing="0" * 12), "preprocessing"),
        (header_with(surprise=1), "the config has surprise, which"),
    ],
)
def test_crafted_files_are_refused_with_the_reason(network: MLP, change: Any, says: str) -> None:
    with pytest.raises(WeightsError, match=says):
        load(rewritten(to_bytes(network), change))


def test_objects_compression_and_doubled_members_are_refused(network: MLP) -> None:
    with pytest.raises(WeightsError, match="Object arrays cannot be loaded"):
        load(rewritten(to_bytes(network), lambda a: a.update({"0.weight": np.array([{}], dtype=object)})))
    packed = io.BytesIO()
    with np.load(io.BytesIO(to_bytes(network))) as members:
        np.savez_compressed(packed, **members)
    with pytest.raises(WeightsError, match="uncompressed"):
        load(packed.getvalue())
    doubled = io.BytesIO(to_bytes(network))
    with zipfile.ZipFile(doubled, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("0.weight.npy", b"")
    with pytest.raises(WeightsError, match="or a member twice"):
        load(doubled.getvalue())


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(100), bytes(1000)])
def test_other_files_are_no_weights(content: bytes) -> None:
    with pytest.raises(WeightsError, match="not a weights file"):
        load(content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nothing\.npz cannot be read: No such file"):
        load(tmp_path / "nothing.npz")


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "weights.npz"
    write_atomically(target, b"old")
    with pytest.raises(TypeError):
        write_atomically(target, "not bytes")  # type: ignore[arg-type]
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
