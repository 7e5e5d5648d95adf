from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import pytest

from training.errors import ConfigError, DataError
from training.evaluation.gradcheck import relative_error
from training.nn.activations import ACTIVATIONS
from training.nn.config import MLPConfig, parameter_count
from training.nn.losses import LOSSES
from training.nn.mlp import MLP

BODIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "no biases": {"bias": False},
    "batch norm": {"batch_norm": True},
    "dropout": {"dropout": 0.3},
    "residual": {"residual": True},
    "all at once": {"batch_norm": True, "dropout": 0.2, "residual": True},
}
HEADS = [(loss, output) for loss in LOSSES for output in LOSSES[loss].allowed_outputs or ACTIVATIONS]


@pytest.mark.parametrize(
    "body", [pytest.param(name, marks=[] if name in ("plain", "all at once") else pytest.mark.slow) for name in BODIES]
)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_backpropagation_is_the_numerical_gradient(body: str, activation: str, rng: np.random.Generator) -> None:
    x, targets = rng.normal(size=(5, 6)), rng.dirichlet(np.ones(3), size=5)
    for loss, output in HEADS:
        config = MLPConfig((6, 7, 7, 3), activation=activation, output=output, initializer="glorot", **BODIES[body])
        network = MLP(config, 1, np.float64)
        error = relative_error(network, LOSSES[loss], x, targets, sample=40)
        assert error <= 1e-6, (loss, output)


def test_a_broken_backward_pass_is_noticed(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACTIVATIONS, "tanh", lambda x: (np.tanh(x), lambda dy: dy))
    network = MLP(MLPConfig((6, 7, 3), activation="tanh"), 1, np.float64)
    error = relative_error(network, LOSSES["cross_entropy"], rng.normal(size=(5, 6)), rng.integers(0, 3, 5))
    assert error > 1e-3


@pytest.mark.parametrize(("bias", "batch_norm"), list(product([True, False], repeat=2)))
def test_the_flat_vector_holds_every_parameter_once(bias: bool, batch_norm: bool) -> None:
    config = MLPConfig((5, 4, 3, 2), bias=bias, batch_norm=batch_norm)
    network = MLP(config, 0)
    assert len(network.parameters) == parameter_count(config)
    network.parameters[:] = np.arange(len(network.parameters))
    held = [a for name, a in network.state_dict().items() if not name.endswith(("mean", "variance"))]
    assert sorted(np.concatenate([a.ravel() for a in held])) == list(range(len(network.parameters)))
    weights = [a for name, a in network.state_dict().items() if name.endswith("weight")]
    assert {int(v) for a in weights for v in a.ravel()} == set(range(network.n_weights))


def test_every_gradient_is_written_by_a_backward_pass(rng: np.random.Generator) -> None:
    network = MLP(MLPConfig((5, 6, 3), activation="tanh", batch_norm=True), 0)
    network.gradients[:] = np.nan
    network.loss_and_gradients(
        LOSSES["cross_entropy"], rng.normal(size=(4, 5)).astype("f"), np.array([0, 1, 2, 0]), rng=rng
    )
    assert np.isfinite(network.gradients).all()


def test_prediction_does_not_depend_on_chunks_or_on_company(rng: np.random.Generator) -> None:
    network = MLP(MLPConfig((20, 16, 4)), 0, np.float64)
    x = rng.normal(size=(1500, 20))
    together = network.predict(x)
    np.testing.assert_allclose(together[700:701], network.predict(x[700:701]))
    np.testing.assert_allclose(together.sum(axis=1), 1)


def test_many_threads_predict_at_once_with_the_same_answers(rng: np.random.Generator) -> None:
    network = MLP(MLPConfig((50, 40, 5)), 0)
    x = rng.normal(size=(64, 50)).astype(np.float32)
    expected = network.predict(x)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: network.predict(x), range(200)))
    assert all((answer == expected).all() for answer in answers)


def test_dropout_and_batch_statistics_are_for_learning_only(rng: np.random.Generator) -> None:
    network = MLP(MLPConfig((8, 6, 3), dropout=0.5, batch_norm=True), 0)
    x = rng.normal(size=(32, 8)).astype(np.float32)
    np.testing.assert_array_equal(network.predict(x), network.predict(x))
    assert (network.forward(x, rng)[0] != network.forward(x, rng)[0]).any()
    assert network.state_dict()["1.mean"].any()


def test_batch_norm_gives_each_unit_mean_0_and_variance_1(rng: np.random.Generator) -> None:
    network = MLP(MLPConfig((8, 6, 3), batch_norm=True, activation="linear"), 0, np.float64)
    hidden, _ = network.layers[0].forward(rng.normal(3, 5, size=(200, 8)))
    normed, _ = network.layers[1].forward(hidden, rng)
    np.testing.assert_allclose(normed.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(normed.std(axis=0), 1, atol=1e-4)


def test_dropout_keeps_the_expected_sum(rng: np.random.Generator) -> None:
    dropout = MLP(MLPConfig((4, 4, 2), dropout=0.25), 0).layers[2]
    y, _ = dropout.forward(np.ones((500, 200), np.float32), rng)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert y.mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("layers", (784,)), ("layers", (784, 0, 10)), ("layers", (784, 2.5, 10)), ("layers", "784"),
        ("layers", (784, 10**6, 10**6, 10)), ("activation", "rely"), ("output", "sofmax"), ("initializer", "best"),
        ("dropout", 1.0), ("dropout", -0.1),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        MLPConfig(**{field: value})  # type: ignore[arg-type]
    assert caught.value.field == field


def test_rows_of_the_wrong_width_are_refused() -> None:
    with pytest.raises(DataError, match="rows of 784 numbers"):
        MLP(MLPConfig()).predict(np.zeros((2, 28, 28), np.float32))
