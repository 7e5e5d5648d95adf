"""The figures of an epoch, its rate and its weights, each held against what they are by definition."""

import math

import numpy as np
import pytest

from training import MLP, FitConfig, MLPConfig, TrainingState, fit, train
from training.nn.layers import BatchNorm
from training.nn.losses import cross_entropy

TINY = 1e-12
"""A rate at which a float32 network does not move."""


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(10, 4)).astype(np.float32)


Y = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])


def test_running_statistics_keep_nine_tenths_and_take_one_tenth_of_the_batch(
    x: np.ndarray, rng: np.random.Generator
) -> None:
    norm = BatchNorm((4,))
    norm.bind(*({"scale": np.ones(4, np.float32), "shift": np.zeros(4, np.float32)} for _ in range(2)))
    norm.mean[:], norm.variance[:] = 5.0, 7.0
    norm.forward(x, rng)
    np.testing.assert_allclose(norm.mean, 0.9 * 5 + 0.1 * x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(norm.variance, 0.9 * 7 + 0.1 * x.var(axis=0), rtol=1e-5)
    kept = norm.mean.copy()
    norm.forward(x)
    np.testing.assert_array_equal(norm.mean, kept)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 7, 9, 10])
def test_the_loss_of_an_epoch_is_the_mean_over_examples_however_they_are_cut_into_batches(
    x: np.ndarray, batch_size: int
) -> None:
    network = MLP(MLPConfig((4, 5, 3)), 1)
    expected = cross_entropy(network.forward(x)[0], Y)[0]
    single = [cross_entropy(network.forward(x[n : n + 1])[0], Y[n : n + 1])[0] for n in range(10)]
    assert max(single) > 2 * min(single)  # else any weighting would give this mean
    config = FitConfig(epochs=1, batch_size=batch_size, optimizer="sgd", learning_rate=TINY, shuffle=False)
    (epoch,) = fit(network, x, Y, config)
    assert epoch.train.loss == pytest.approx(expected, rel=1e-5)


def test_the_rate_of_an_epoch_is_that_of_its_last_step(x: np.ndarray) -> None:
    config = FitConfig(epochs=4, batch_size=3, schedule="cosine", learning_rate=0.01)
    history = fit(MLP(MLPConfig((4, 5, 3)), 1), x, Y, config)
    for epoch in history:
        assert epoch.step == 4 * epoch.number
        expected = 0.01 * 0.5 * (1 + math.cos(math.pi * (epoch.step - 1) / 16))
        assert epoch.learning_rate == pytest.approx(expected)


@pytest.mark.parametrize(("max_steps", "length"), [(6, 6), (10, 10), (12, 12), (13, 12), (10**9, 12), (None, 12)])
def test_a_schedule_is_as_long_as_the_run(x: np.ndarray, max_steps: int | None, length: int) -> None:
    """Three epochs of four steps, or as many steps as are allowed."""
    config = FitConfig(epochs=3, batch_size=3, schedule="cosine", learning_rate=0.01, max_steps=max_steps)
    last = fit(MLP(MLPConfig((4, 5, 3)), 1), x, Y, config)[-1]
    assert last.step == length
    assert last.learning_rate == pytest.approx(0.01 * 0.5 * (1 + math.cos(math.pi * (length - 1) / length)))


def test_steps_are_made_by_the_rates_that_the_schedule_gives(x: np.ndarray) -> None:
    """Plain descent, one step an epoch: each change is the rate times the gradient."""
    config = FitConfig(epochs=3, batch_size=10, optimizer="sgd", schedule="exponential", learning_rate=0.1)
    network = MLP(MLPConfig((4, 3)), 1, np.float64)
    before = network.parameters.copy()
    schedule = config.make_schedule(3)
    run = TrainingState.start(network, config)
    for step, _ in enumerate(train(run, (x.astype(np.float64), Y), config)):
        twin = MLP(MLPConfig((4, 3)), 1, np.float64)
        twin.parameters[:] = before
        seen, backward = twin.forward(x.astype(np.float64))
        backward(cross_entropy(seen, Y)[1])
        np.testing.assert_allclose(network.parameters, before - schedule(step) * twin.gradients, rtol=1e-9)
        before = network.parameters.copy()


def test_class_weights_and_sample_weights_are_multiplied(x: np.ndarray, rng: np.random.Generator) -> None:
    sample_weights = rng.uniform(0.5, 2, 10).astype(np.float32)
    class_weights = {0: 0.5, 2: 3.0}
    product = sample_weights * np.array([0.5, 1.0, 3.0], np.float32)[Y]
    config = FitConfig(epochs=2, batch_size=4, learning_rate=0.01)
    both, one = MLP(MLPConfig((4, 5, 3)), 1), MLP(MLPConfig((4, 5, 3)), 1)
    history = fit(both, x, Y, config.replace(class_weights=class_weights), sample_weight=sample_weights)
    expected = fit(one, x, Y, config, sample_weight=product)
    np.testing.assert_allclose(both.parameters, one.parameters, rtol=1e-5)
    assert [epoch.train.loss for epoch in history] == pytest.approx([epoch.train.loss for epoch in expected])
    config = FitConfig(epochs=1, batch_size=10, optimizer="sgd", learning_rate=TINY)
    network = MLP(MLPConfig((4, 5, 3)), 1)
    single = [cross_entropy(network.forward(x[n : n + 1])[0], Y[n : n + 1])[0] for n in range(10)]
    (epoch,) = fit(network, x, Y, config.replace(class_weights=class_weights), sample_weight=sample_weights)
    assert epoch.train.loss == pytest.approx(float(np.mean(product * single)), rel=1e-5)
