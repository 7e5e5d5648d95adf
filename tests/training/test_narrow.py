from dataclasses import replace

import numpy as np
import pytest

from training import Experiment, recipes
from training.arrays import Floats, Labels
from training.examples import prepare
from training.fit import fit
from training.fit_config import FitConfig
from training.losses import LOSSES
from training.narrow import narrowed, reach, speaking_columns, widen
from training.network import MLP, MLPConfig


@pytest.fixture
def half_silent(rng: np.random.Generator) -> tuple[Floats, Labels]:
    """Examples of 20 inputs, of which every other one is always 0."""
    x = rng.normal(size=(200, 20))
    x[:, ::2] = 0
    return x, x[:, 1:6:2].argmax(axis=1)


def test_the_narrow_copy_answers_as_the_network_does_and_writes_itself_back(half_silent: tuple[Floats, Labels]) -> None:
    x, _ = half_silent
    network = MLP(MLPConfig((20, 8, 3), batch_norm=True), 0, np.float64)
    columns = speaking_columns(network, x)
    assert columns is not None
    assert sorted(columns.tolist()) == list(range(1, 20, 2))
    before = network.predict(x)
    narrow = narrowed(network, columns)
    np.testing.assert_allclose(narrow.predict(x[:, columns]), before)
    narrow.parameters += 0.1
    widen(network, narrow, columns)
    np.testing.assert_allclose(network.predict(x), narrow.predict(x[:, columns]))
    assert not network.arrays()["0.weight"][::2].any()


def test_what_speaks_most_often_comes_first_and_a_batch_ends_where_its_rows_fall_silent() -> None:
    x = np.array([[0, 0, 7, 0, 1], [0, 2, 3, 0, 0], [0, 0, 4, 0, 0], [0, 5, 6, 0, 0], [0, 0, 0, 0, 0]], "f")
    network = MLP(MLPConfig((5, 3)), 0)
    columns = speaking_columns(network, x)
    assert columns is not None
    assert columns.tolist() == [2, 1, 4]
    ordered = x[:, columns]
    assert reach(ordered).tolist() == [3, 2, 1, 2, 3]
    narrow = narrowed(network, columns)
    examples = replace(prepare(narrow, (ordered, np.arange(5) % 3), FitConfig()), reach=reach(ordered))
    assert examples.batch(np.array([1, 2]))[0].tolist() == [[3, 2], [4, 0]]


def test_a_batch_that_was_cut_off_has_the_gradients_of_the_whole_one(rng: np.random.Generator) -> None:
    x = rng.normal(size=(6, 8))
    x[:, 5:] = 0
    network = MLP(MLPConfig((8, 4, 3)), 0, np.float64)
    network.backpropagate(LOSSES["cross_entropy"], x, np.arange(6) % 3)
    whole = network.gradients.copy()
    network.gradients[:] = np.nan
    network.backpropagate(LOSSES["cross_entropy"], x[:, :5], np.arange(6) % 3)
    np.testing.assert_allclose(network.gradients, whole, atol=1e-15)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adagrad", "rmsprop"])
def test_training_is_what_it_would_be_with_the_silent_inputs(
    optimizer: str, half_silent: tuple[Floats, Labels]
) -> None:
    x, y = half_silent
    narrow, wide = (MLP(MLPConfig((20, 8, 3)), 0, np.float64) for _ in range(2))
    config = FitConfig(epochs=3, batch_size=32, optimizer=optimizer, learning_rate=0.01)
    history = fit(narrow, x, y, config)
    noisy = x.copy()
    noisy[0, ::2] = 1e-300  # now every input speaks, too softly to change a sum
    fit(wide, noisy, y, config)
    assert history[-1].train.accuracy is not None
    np.testing.assert_allclose(narrow.predict(x), wide.predict(x), rtol=1e-9)


def test_training_examples_can_be_measured_again_and_validated(half_silent: tuple[Floats, Labels]) -> None:
    x, y = half_silent
    network = MLP(MLPConfig((20, 8, 3)), 0, np.float64)
    config = FitConfig(epochs=2, evaluate_training=True, keep_best=True)
    epoch = fit(network, x, y, config, validation=(x, y))[-1]
    assert epoch.validation is not None
    assert epoch.train.loss == pytest.approx(epoch.validation.loss)


def test_inputs_that_nearly_all_speak_are_left_alone(rng: np.random.Generator) -> None:
    network = MLP(MLPConfig((20, 8, 3)), 0)
    assert speaking_columns(network, rng.normal(size=(50, 20))) is None
    assert speaking_columns(network, np.zeros((50, 20))) is None
    assert speaking_columns(MLP(MLPConfig((20, 20, 3), residual=True), 0), np.eye(20)[:5]) is None


def test_a_deformation_sees_whole_pictures_and_may_make_silent_inputs_speak(
    half_silent: tuple[Floats, Labels],
) -> None:
    x, y = half_silent
    widths: set[int] = set()

    def fill(batch: Floats, rng: np.random.Generator) -> Floats:
        widths.add(batch.shape[1])
        return batch + rng.normal(size=batch.shape)

    network = MLP(MLPConfig((20, 8, 3)), 0, np.float64)
    fit(network, x, y, FitConfig(epochs=1), augment=fill)
    assert widths == {20}
    assert network.arrays()["0.weight"][::2].any()


def test_a_recipe_can_deform_real_digits() -> None:
    experiment = Experiment(recipes.get("starter").replace(epochs=1, layers=(784, 8, 10), augment="deform"))
    assert len(list(experiment.epochs())) == 1
