"""Exported graphs, run by a runtime that shares no code with us."""

import json
import sys
from typing import Any

import numpy as np
import pytest

from training.errors import TrainingError
from training.export.onnx import OPERATORS, to_onnx
from training.nn.activations import ACTIVATIONS
from training.nn.config import MLPConfig
from training.nn.layers import BatchNorm, Residual
from training.nn.mlp import MLP
from training.vision.glyph import preprocessing_id
from training.vision.input_spec import InputSpec


def run(content: bytes, x: np.ndarray) -> np.ndarray:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install glyphserve[dev]")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    outputs: np.ndarray = session.run(["outputs"], {"features": x})[0]
    return outputs


@pytest.fixture(autouse=True)
def onnx_is_here(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("onnx"):
        pytest.importorskip("onnx", reason="the onnx package is not installed: pip install glyphserve[onnx]")


def network(rng: np.random.Generator, **settings: Any) -> MLP:
    """Build a network whose every number is off its start, running statistics as well."""
    network = MLP(MLPConfig(**{"layers": (12, 16, 16, 5)} | settings), rng)
    network.parameters += rng.normal(0, 0.1, network.parameters.shape).astype(np.float32)
    for _ in range(5):
        network.forward(rng.normal(0.5, 2, (40, 12)).astype(np.float32), rng)
    return network


CONFIGS: list[dict[str, Any]] = [
    *({"activation": name} for name in ACTIVATIONS),
    *({"output": name} for name in ACTIVATIONS),
    {"bias": False},
    {"batch_norm": True},
    {"residual": True},
    {"dropout": 0.5},
    {"batch_norm": True, "residual": True, "dropout": 0.2, "activation": "swish"},
    {"layers": (12, 1), "output": "sigmoid"},
    {"layers": (12, 16, 16, 16, 16, 3), "residual": True, "activation": "leaky_relu"},
]


@pytest.mark.onnx
@pytest.mark.parametrize("settings", CONFIGS, ids=str)
def test_a_runtime_answers_what_the_network_answers_for_any_number_of_rows(
    settings: dict[str, Any], rng: np.random.Generator
) -> None:
    exported = network(rng, **settings)
    content = to_onnx(exported)
    for rows in (1, 7, 600):
        x = rng.normal(0, 2, (rows, 12)).astype(np.float32)
        np.testing.assert_allclose(run(content, x), exported.predict(x), rtol=1e-5, atol=1e-5)


def test_the_statistics_and_the_skips_that_are_exported_matter(rng: np.random.Generator) -> None:
    built = network(rng, batch_norm=True, residual=True)
    norms = [layer for layer in built.layers if isinstance(layer, BatchNorm)]
    assert any(isinstance(layer, Residual) for layer in built.layers)
    assert all(np.abs(norm.mean).max() > 0.1 for norm in norms)


@pytest.mark.onnx
def test_the_model_tells_how_pictures_become_features(rng: np.random.Generator) -> None:
    onnx = pytest.importorskip("onnx")
    form = InputSpec(side=20, low=-1.0)
    exported = MLP(MLPConfig((400, 10), input=form), rng)
    model = onnx.load_from_string(to_onnx(exported, labels=list("0123456789")))
    told = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert told["input"] == {"side": 20, "low": -1.0, "high": 1.0}
    assert told["preprocessing"] == preprocessing_id(form)
    assert told["labels"] == list("0123456789")


@pytest.mark.onnx
def test_the_same_network_makes_the_same_bytes(rng: np.random.Generator) -> None:
    exported = network(rng)
    assert to_onnx(exported) == to_onnx(exported)


def test_every_activation_has_its_operator() -> None:
    assert list(OPERATORS) == list(ACTIVATIONS)


def test_without_the_package_the_error_says_what_to_install(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(TrainingError, match=r"pip install glyphserve\[onnx\]"):
        to_onnx(network(rng))
