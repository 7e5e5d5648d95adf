import numpy as np
import pytest

from training.nn.config import MLPConfig
from training.nn.init import BIAS_INITIALIZERS, INITIALIZERS
from training.nn.mlp import MLP

DEVIATIONS = {
    "zeros": 0.0,
    "standard_normal": 1.0,
    "normal_0.1": 0.1,
    "normal_0.01": 0.01,
    "normal_by_outputs": (1 / 200) ** 0.5,
    "lecun": (1 / 300) ** 0.5,
    "glorot": (2 / 500) ** 0.5,
    "he": (2 / 300) ** 0.5,
}


def test_every_initializer_is_measured_here() -> None:
    assert set(DEVIATIONS) == set(INITIALIZERS)


@pytest.mark.parametrize(("name", "deviation"), DEVIATIONS.items())
def test_weights_have_mean_zero_and_the_deviation_of_the_paper(name: str, deviation: float) -> None:
    weight = INITIALIZERS[name](np.random.default_rng(1), 300, 200)
    assert weight.shape == (300, 200)
    assert weight.std() == pytest.approx(deviation, rel=0.02)
    assert abs(weight.mean()) <= 0.02 * deviation


def test_biases_start_at_zero_unless_the_recipe_draws_them() -> None:
    assert not MLP(MLPConfig((4, 3)), 0).state_dict()["0.bias"].any()
    assert "standard_normal" in BIAS_INITIALIZERS
    assert MLP(MLPConfig((4, 3), initializer="standard_normal"), 0).state_dict()["0.bias"].all()


def test_the_same_seed_draws_the_same_network() -> None:
    one, same, other = (MLP(MLPConfig((9, 5, 2)), seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.parameters, same.parameters)
    assert (one.parameters != other.parameters).any()
