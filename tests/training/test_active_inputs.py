from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import Experiment, recipes
from training.export.checkpoint import load_checkpoint, save_checkpoint
from training.fit.config import FitConfig
from training.fit.loop import TrainingState, fit, train
from training.inputs.active_inputs import SortedExamples, active_network, input_order, sort_inputs
from training.inputs.examples import check_and_encode
from training.nn.config import MLPConfig
from training.nn.losses import LOSSES
from training.nn.mlp import MLP
from training.types import Floats, Labels


@pytest.fixture
def half_silent(rng: np.random.Generator) -> tuple[Floats, Labels]:
    """Examples of 20 inputs, of which every other one is always 0."""
    x = rng.normal(size=(200, 20))
    x[:, ::2] = 0
    return x, x[:, 1:6:2].argmax(axis=1)


def test_the_sorted_copy_predicts_as_the_network_does_and_is_written_back(half_silent: tuple[Floats, Labels]) -> None:
    x, y = half_silent
    network = MLP(MLPConfig((20, 8, 3), batch_norm=True), 0, np.float64)
    optimizer = FitConfig().make_optimizer(network.parameters, network.n_weights)
    optimizer.state["first"][:] = network.parameters
    examples = sort_inputs(network, check_and_encode(network, (x, y), FitConfig()))
    assert isinstance(examples, SortedExamples)
    assert sorted(examples.order.tolist()) == list(range(20))
    assert sorted(examples.order[:10].tolist()) == list(range(1, 20, 2))
    before, silent = network.predict(x), network.state_dict()["0.weight"][::2].copy()
    with active_network(network, optimizer, examples) as active:
        np.testing.assert_allclose(active.forward_with_output(examples.x), before)
        np.testing.assert_array_equal(optimizer.state["first"], active.parameters)
        active.parameters += 0.1
    np.testing.assert_array_equal(network.state_dict()["0.weight"][::2], silent + 0.1)
    network.parameters -= 0.1
    np.testing.assert_allclose(network.predict(x), before)
    np.testing.assert_allclose(optimizer.state["first"], network.parameters)


def test_what_is_non_zero_most_often_comes_first_and_a_batch_ends_where_its_rows_do() -> None:
    x = np.array([[0, 0, 7, 0, 1], [0, 2, 3, 0, 0], [0, 0, 4, 0, 0], [0, 5, 6, 0, 0], [0, 0, 0, 0, 0]], "f")
    network = MLP(MLPConfig((5, 3)), 0)
    examples = sort_inputs(network, check_and_encode(network, (x, np.arange(5) % 3), FitConfig()))
    assert isinstance(examples, SortedExamples)
    assert examples.order.tolist() == [2, 1, 4, 0, 3]
    assert examples.x.tolist() == x[:, [2, 1, 4]].tolist()
    assert examples.extents.tolist() == [3, 2, 1, 2, 3]
    assert examples.batch(np.array([1, 2]))[0].tolist() == [[3, 2], [4, 0]]


def test_a_batch_that_was_cut_off_has_the_gradients_of_the_whole_one(rng: np.random.Generator) -> None:
    x = rng.normal(size=(6, 8))
    x[:, 5:] = 0
    network = MLP(MLPConfig((8, 4, 3)), 0, np.float64)
    network.loss_and_gradients(LOSSES["cross_entropy"], x, np.arange(6) % 3)
    whole = network.gradients.copy()
    examples = sort_inputs(network, check_and_encode(network, (x, np.arange(6) % 3), FitConfig()))
    assert examples.x.shape == (6, 5)
    optimizer = FitConfig().make_optimizer(network.parameters, network.n_weights)
    with active_network(network, optimizer, examples) as active:
        active.gradients[:] = np.nan
        active.loss_and_gradients(LOSSES["cross_entropy"], examples.x, np.arange(6) % 3)
        np.testing.assert_allclose(active.gradients, whole, atol=1e-15)  # all columns are equally often nonzero


def plainly(x: Floats, rng: np.random.Generator) -> Floats:  # noqa: ARG001 -- an augmentation
    """Change nothing: with an augmentation training works on whole rows."""
    return x


OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {}),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("adagrad", {}),
    ("rmsprop", {}),
    ("adam", {}),
]
SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "l2": ({"l2": 0.01}, {}),
    "weight decay": ({"weight_decay": 0.1}, {}),
    "l2 and weight decay, scheduled": ({"l2": 0.01, "weight_decay": 0.1, "schedule": "one_cycle"}, {}),
    "batch norm": ({"l2": 0.01}, {"batch_norm": True}),
    "dropout": ({"weight_decay": 0.1}, {"dropout": 0.3}),
    "residual": ({"l2": 0.01}, {"layers": (20, 8, 8, 3), "residual": True, "batch_norm": True}),
    "best kept": ({"keep_best": True, "validation_share": 0.2, "l2": 0.01}, {}),
    "class weights": ({"class_weights": {0: 3.0, 2: 0.1}, "l2": 0.01}, {}),
    "training measured again": ({"evaluate_training": True, "weight_decay": 0.1}, {}),
}


def assert_alike(one: TrainingState, other: TrainingState) -> None:
    """Compare weights, running statistics, the optimizer's state and the history, to the rounding of sums."""
    for name, array in one.network.state_dict().items():
        np.testing.assert_allclose(array, other.network.state_dict()[name], rtol=1e-7, atol=1e-11, err_msg=name)
    for name, array in one.optimizer.state.items():
        np.testing.assert_allclose(array, other.optimizer.state[name], rtol=1e-7, atol=1e-11, err_msg=name)
    for mine, theirs in zip(one.history, other.history, strict=True):
        assert (mine.step, mine.learning_rate) == (theirs.step, theirs.learning_rate)
        assert mine.train.loss == pytest.approx(theirs.train.loss)
        assert mine.train.accuracy == theirs.train.accuracy
        assert mine.update == pytest.approx(theirs.update)


@pytest.mark.parametrize(("optimizer", "options"), OPTIMIZERS)
@pytest.mark.parametrize("name", SETTINGS)
def test_training_without_the_silent_inputs_is_plain_training(
    name: str, optimizer: str, options: dict[str, Any], half_silent: tuple[Floats, Labels]
) -> None:
    settings, body = SETTINGS[name]
    fit_settings = {"epochs": 3, "batch_size": 32, "learning_rate": 0.01} | settings
    config = FitConfig(**fit_settings, optimizer=optimizer, optimizer_options=options)
    network = MLPConfig(**{"layers": (20, 8, 3)} | body)
    cut, plain = (TrainingState.start(MLP(network, 0, np.float64), config) for _ in range(2))
    assert input_order(cut.network, half_silent[0]) is not None
    silent = cut.network.state_dict()["0.weight"][::2].copy()
    list(train(cut, half_silent, config))
    list(train(plain, half_silent, config, augment=plainly))
    assert_alike(cut, plain)
    if not (config.l2 or config.weight_decay):
        assert cut.network.state_dict()["0.weight"][::2].tobytes() == silent.tobytes()
    else:
        assert np.abs(cut.network.state_dict()["0.weight"][::2]).sum() != np.abs(silent).sum()


@pytest.mark.parametrize(("optimizer", "options"), OPTIMIZERS)
def test_so_it_is_over_a_checkpoint_and_further_examples_with_the_same_optimizer(
    optimizer: str, options: dict[str, Any], half_silent: tuple[Floats, Labels], tmp_path: Path
) -> None:
    config = FitConfig(epochs=2, batch_size=32, optimizer=optimizer, optimizer_options=options, l2=0.01)
    runs = [TrainingState.start(MLP(MLPConfig((20, 8, 3)), 0, np.float64), config) for _ in range(2)]
    x, y = half_silent
    moved = np.roll(x, 1, axis=1)  # now the other half is silent
    for run, augment in zip(runs, (None, plainly), strict=True):
        next(train(run, (x, y), config, augment=augment))
        save_checkpoint(tmp_path / "run.npz", run, config)
        resumed = load_checkpoint(tmp_path / "run.npz", run.network, config)
        list(train(resumed, (x, y), config, augment=augment))
        second = TrainingState(resumed.network, resumed.optimizer, resumed.rng)
        list(train(second, (moved, y), config, augment=augment))
        run.history, run.optimizer = second.history, second.optimizer
    assert_alike(*runs)


def test_what_a_callback_does_to_the_network_stays_done(half_silent: tuple[Floats, Labels]) -> None:
    networks = [MLP(MLPConfig((20, 8, 3)), 0, np.float64) for _ in range(2)]

    def clip(run: TrainingState, epoch: object) -> None:  # noqa: ARG001 -- a callback
        np.clip(run.network.parameters, -0.2, 0.2, out=run.network.parameters)

    for network, augment in zip(networks, (None, plainly), strict=True):
        fit(network, *half_silent, FitConfig(epochs=3, batch_size=32), augment=augment, callbacks=[clip])
        assert np.abs(network.parameters).max() <= 0.2
    np.testing.assert_allclose(networks[0].parameters, networks[1].parameters, rtol=1e-7)


def test_an_epoch_that_was_broken_off_leaves_the_weights_that_plain_training_leaves(
    half_silent: tuple[Floats, Labels],
) -> None:
    networks = [MLP(MLPConfig((20, 8, 3)), 0, np.float64) for _ in range(2)]

    def stop(step: int, steps: int, score: object) -> None:  # noqa: ARG001 -- called within an epoch
        if step == 3:
            raise KeyboardInterrupt

    config = FitConfig(epochs=1, batch_size=32)
    for network, augment in zip(networks, (None, plainly), strict=True):
        epochs: Iterator[object] = train(
            TrainingState.start(network, config), half_silent, config, augment=augment, on_step=stop
        )
        with pytest.raises(KeyboardInterrupt):
            next(epochs)
    np.testing.assert_allclose(networks[0].parameters, networks[1].parameters, rtol=1e-7)


def test_training_examples_can_be_measured_again_and_validated(half_silent: tuple[Floats, Labels]) -> None:
    x, y = half_silent
    network = MLP(MLPConfig((20, 8, 3)), 0, np.float64)
    config = FitConfig(epochs=2, evaluate_training=True, keep_best=True)
    epoch = fit(network, x, y, config, validation=(x, y))[-1]
    assert epoch.validation is not None
    assert epoch.train.loss == pytest.approx(epoch.validation.loss)


def test_inputs_that_are_nearly_all_used_are_left_alone(rng: np.random.Generator) -> None:
    network = MLP(MLPConfig((20, 8, 3)), 0)
    assert input_order(network, rng.normal(size=(50, 20))) is None
    assert input_order(network, np.zeros((50, 20))) is None
    assert input_order(MLP(MLPConfig((20, 20, 3), residual=True), 0), np.eye(20)[:5]) is None


def test_a_deformation_sees_whole_pictures_and_may_fill_silent_inputs(half_silent: tuple[Floats, Labels]) -> None:
    x, y = half_silent
    widths: set[int] = set()

    def fill(batch: Floats, rng: np.random.Generator) -> Floats:
        widths.add(batch.shape[1])
        return batch + rng.normal(size=batch.shape)

    network = MLP(MLPConfig((20, 8, 3)), 0, np.float64)
    before = network.state_dict()["0.weight"][::2].copy()
    fit(network, x, y, FitConfig(epochs=1), augment=fill)
    assert widths == {20}
    assert (network.state_dict()["0.weight"][::2] != before).all()


def test_a_recipe_can_deform_real_digits() -> None:
    experiment = Experiment(recipes.get("starter").replace(epochs=1, layers=(784, 8, 10), augment="deform"))
    assert len(list(experiment.epochs())) == 1
