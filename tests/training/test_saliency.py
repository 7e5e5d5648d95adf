from typing import Any

import numpy as np
import pytest

from tests.training.test_mlp import BODIES
from training.data import load_dataset
from training.evaluation.saliency import gradient_times_input, input_gradient
from training.nn.activations import ACTIVATIONS
from training.nn.config import MLPConfig
from training.nn.mlp import MLP
from training.types import Floats, Labels
from training.vision.input_spec import InputSpec

DIGITS = load_dataset("starter").train.images[:6]


def measured_gradient(network: MLP, x: Floats, classes: Labels, step: float = 1e-5) -> Floats:
    """The slope of each row's score along each of its inputs, by central differences."""
    slopes = np.empty_like(x)
    sign = np.where(classes == 1, 1, -1) if network.config.layers[-1] == 1 else np.ones(len(x))
    column = np.zeros_like(classes) if network.config.layers[-1] == 1 else classes
    for place in range(x.shape[1]):
        sides = []
        for shift in (step, -step):
            moved = x.copy()
            moved[:, place] += shift
            sides.append(sign * network.forward(moved)[0][np.arange(len(x)), column])
        slopes[:, place] = (sides[0] - sides[1]) / (2 * step)
    return slopes


@pytest.mark.parametrize("layers", [(6, 7, 7, 3), (6, 6, 6, 3), (6, 3), (6, 7, 1)])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_gradient_by_the_input_is_the_measured_one(
    layers: tuple[int, ...], body: dict[str, Any], activation: str, rng: np.random.Generator
) -> None:
    output = "sigmoid" if layers[-1] == 1 else "softmax"
    network = MLP(MLPConfig(layers, activation=activation, output=output, initializer="glorot", **body), 1, np.float64)
    x, classes = rng.normal(size=(5, 6)), rng.integers(0, max(layers[-1], 2), 5)
    np.testing.assert_allclose(
        input_gradient(network, x, classes), measured_gradient(network, x, classes), rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("form", [InputSpec(), InputSpec(side=20), InputSpec(low=-1.0), InputSpec(side=24, block=3)])
def test_a_map_is_gradient_times_input_at_the_place_of_each_pixel(form: InputSpec) -> None:
    network = MLP(MLPConfig((form.grid_size**2, 12, 10), activation="tanh", input=form), 3, np.float64)
    classes = np.arange(len(DIGITS))
    features = form.to_features(DIGITS).astype(np.float64)
    edge = (28 - form.side) // 2
    centre = slice(edge, 28 - edge)
    expected = np.zeros((len(DIGITS), 28, 28))
    gradient = measured_gradient(network, features, classes).reshape(-1, form.grid_size, form.grid_size)
    pixels = DIGITS[:, centre, centre] / 255 * (form.high - form.low) + form.low
    expected[:, centre, centre] = np.kron(gradient, np.ones((1, form.block, form.block))) / form.block**2 * pixels
    np.testing.assert_allclose(gradient_times_input(network, DIGITS, classes), expected, rtol=1e-5, atol=1e-8)


def test_without_biases_the_map_of_a_relu_network_adds_up_to_the_score() -> None:
    """Such a network is linear in its input as far as no unit changes sides, so the parts make the whole."""
    network = MLP(MLPConfig((784, 20, 10), bias=False), 0, np.float64)
    classes = np.array([0, 1, 2, 3, 4, 5])
    logits, _ = network.forward(network.config.input.to_features(DIGITS).astype(np.float64))
    maps = gradient_times_input(network, DIGITS, classes)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), logits[np.arange(6), classes])


def test_asking_why_changes_no_answer() -> None:
    network = MLP(MLPConfig((784, 20, 10), batch_norm=True), 0)
    features = network.config.input.to_features(DIGITS)
    before = network.predict(features)
    gradient_times_input(network, DIGITS, np.zeros(len(DIGITS), int))
    np.testing.assert_array_equal(network.predict(features), before)
