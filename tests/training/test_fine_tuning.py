"""A network that has already learned keeps what it knows when it is trained again on a few examples."""

from pathlib import Path

import numpy as np
import pytest

from training import data, evaluate, load
from training.data import Dataset
from training.data.published_sets import MNIST, read_folder
from training.export.npz import to_bytes
from training.fit.config import FitConfig
from training.fit.loop import TrainingState, fit, train

MODELS = Path(__file__).parents[2] / "models"
RELEASES = ("mnist/2", "fast/2", "accurate/5")
ONE_DIGIT = 7


def few(digits: Dataset, count: int = 20) -> Dataset:
    return digits.select(np.flatnonzero(digits.labels == ONE_DIGIT)[:count])


def accuracy_after_fine_tuning(release: str, learned: Dataset, judged: Dataset) -> tuple[float, float]:
    network = load(MODELS / release / "weights.npz")
    before = evaluate(network, judged).accuracy
    x = network.config.input.to_features(learned.images)
    fit(network, x, learned.labels, FitConfig(epochs=1, learning_rate=1e-6))
    return before, evaluate(network, judged).accuracy


@pytest.mark.parametrize("release", RELEASES)
def test_a_tiny_step_on_a_few_pictures_of_one_digit_changes_next_to_nothing(release: str) -> None:
    digits = data.load_dataset("starter").train
    before, after = accuracy_after_fine_tuning(release, few(digits), digits)
    assert abs(after - before) < 0.001


@pytest.mark.mnist
@pytest.mark.parametrize("release", RELEASES)
def test_so_it_is_with_mnists_test_images(release: str, mnist_source: Path) -> None:
    source = read_folder(mnist_source, MNIST)
    assert source.test is not None
    before, after = accuracy_after_fine_tuning(release, few(source.train), source.test)
    assert abs(after - before) < 0.001


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "rmsprop", "adam"])
def test_weights_of_inputs_that_are_always_zero_stay_as_they_were(optimizer: str) -> None:
    network = load(MODELS / "mnist/2" / "weights.npz")
    learned = few(data.load_dataset("starter").train)
    x = network.config.input.to_features(learned.images)
    silent = ~x.any(axis=0)
    before = network.state_dict()["0.weight"].copy()
    fit(network, x, learned.labels, FitConfig(epochs=2, batch_size=8, optimizer=optimizer))
    assert network.state_dict()["0.weight"][silent].tobytes() == before[silent].tobytes()
    assert (network.state_dict()["0.weight"][~silent] != before[~silent]).any()


def test_a_second_fit_starts_from_all_that_the_first_one_left() -> None:
    """Two phases over one run's optimizer, or two runs: nothing is lost between them."""
    network = load(MODELS / "fast/2" / "weights.npz")
    learned, config = few(data.load_dataset("starter").train), FitConfig(epochs=1, learning_rate=1e-12)
    content = to_bytes(network, np.float16)
    for _ in range(2):
        run = TrainingState.start(network, config)
        list(train(run, (network.config.input.to_features(learned.images), learned.labels), config))
    assert to_bytes(network, np.float16) == content
