import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.errors import ConfigError, DataError, DivergedError
from training.fit.config import FitConfig
from training.fit.loop import TrainingState, fit, train
from training.nn.config import MLPConfig
from training.nn.losses import LOSSES
from training.nn.mlp import MLP
from training.types import Floats, Labels


@pytest.fixture
def blobs(rng: np.random.Generator) -> tuple[Floats, Labels]:
    """Three clouds of points that a small network can tell apart."""
    labels = rng.integers(0, 3, 300)
    centres = np.array([[2.0, 0.0], [-2.0, 1.0], [0.0, -2.0]])
    return (centres[labels] + 0.3 * rng.normal(size=(300, 2))).astype(np.float32), labels


def small(**changes: Any) -> MLP:
    return MLP(MLPConfig((2, 16, 3), **changes), 0)


def test_a_network_learns_and_its_history_says_so(blobs: tuple[Floats, Labels]) -> None:
    history = fit(small(), *blobs, FitConfig(epochs=15, batch_size=32, learning_rate=0.01), validation=blobs)
    assert history[-1].validation is not None
    assert history[-1].validation.accuracy == 1.0
    assert history[-1].train.loss < history[0].train.loss
    assert [epoch.number for epoch in history] == list(range(1, 16))
    assert history[-1].step == 15 * 10


def test_the_same_seed_makes_the_same_bytes_and_another_does_not(blobs: tuple[Floats, Labels]) -> None:
    def trained(seed: int) -> bytes:
        network = small(dropout=0.2)
        fit(network, *blobs, FitConfig(epochs=3, seed=seed))
        return network.parameters.tobytes()

    assert trained(1) == trained(1)
    assert trained(1) != trained(2)


@pytest.mark.parametrize("batch_size", [1, 7, 128, 300, 1000])
def test_an_epoch_shows_every_example_once_whatever_the_batch_size(
    batch_size: int, blobs: tuple[Floats, Labels]
) -> None:
    steps = []
    run = TrainingState.start(small(), FitConfig(batch_size=batch_size))
    epochs = train(run, blobs, FitConfig(epochs=1, batch_size=batch_size), on_step=lambda *step: steps.append(step))
    assert len(list(epochs)) == 1
    assert len(steps) == -(-300 // batch_size)
    assert steps[-1][:2] == (len(steps), len(steps))


def test_full_batch_descent_is_one_plain_gradient_step(rng: np.random.Generator) -> None:
    network = MLP(MLPConfig((4, 3), initializer="glorot"), 0, np.float64)
    x, y = rng.normal(size=(20, 4)), rng.integers(0, 3, 20)
    network.loss_and_gradients(LOSSES["cross_entropy"], x, y)
    expected = network.parameters - 0.5 * network.gradients
    fit(network, x, y, FitConfig(epochs=1, batch_size=20, optimizer="sgd", learning_rate=0.5))
    np.testing.assert_allclose(network.parameters, expected)


def test_a_float32_run_follows_a_float64_reference(blobs: tuple[Floats, Labels]) -> None:
    """All of the fast path, the short last batch too, against naive double precision."""
    x, y = blobs
    fast, slow = small(), MLP(MLPConfig((2, 16, 3)), 0, np.float64)
    np.testing.assert_allclose(fast.parameters, slow.parameters, rtol=1e-6)
    config = FitConfig(epochs=2, batch_size=64, weight_decay=0.01, l2=0.001)
    fit(fast, x, y, config)
    fit(slow, x.astype(np.float64), y, config)
    np.testing.assert_allclose(fast.parameters, slow.parameters, atol=2e-5)


def test_batches_drawn_with_replacement_repeat_examples(blobs: tuple[Floats, Labels]) -> None:
    seen: list[Floats] = []

    def remember(x: Floats, rng: np.random.Generator) -> Floats:  # noqa: ARG001 -- an augmentation
        seen.append(x)
        return x

    fit(small(), *blobs, FitConfig(epochs=1, steps_per_epoch=3, batch_size=100, replacement=True), augment=remember)
    assert len(np.unique(np.concatenate(seen), axis=0)) < 300
    seen.clear()
    fit(small(), *blobs, FitConfig(epochs=1, batch_size=100), augment=remember)
    assert len(np.unique(np.concatenate(seen), axis=0)) == 300


def test_steps_per_epoch_goes_on_through_the_shuffle_and_max_steps_ends_within_an_epoch(
    blobs: tuple[Floats, Labels],
) -> None:
    config = FitConfig(epochs=10, steps_per_epoch=4, max_steps=10, batch_size=100)
    history = fit(small(), *blobs, config)
    assert [epoch.step for epoch in history] == [4, 8, 10]


def test_validation_is_held_out_stratified_and_only_measured_when_due(blobs: tuple[Floats, Labels]) -> None:
    history = fit(small(), *blobs, FitConfig(epochs=5, validation_share=0.2, validation_every=2))
    assert [epoch.validation is not None for epoch in history] == [False, True, False, True, True]
    assert history[0].step == 2  # 240 of 300 examples in batches of 128


def test_keep_best_ends_with_the_weights_of_the_best_epoch(blobs: tuple[Floats, Labels]) -> None:
    x, y = blobs
    network = small(batch_norm=True)
    config = FitConfig(epochs=6, learning_rate=0.3, optimizer="sgd", keep_best=True, seed=3, batch_size=30)
    history = fit(network, x, y, config, validation=(x, (y + (x[:, 0] > 2)) % 3))
    best = max(epoch.validation.accuracy or 0 for epoch in history if epoch.validation)
    predicted = network.predict(x).argmax(axis=1)
    assert np.mean(predicted == (y + (x[:, 0] > 2)) % 3) == pytest.approx(best)


def test_class_and_sample_weights_decide_what_is_learned(blobs: tuple[Floats, Labels]) -> None:
    x, y = blobs
    ignoring = small()
    fit(ignoring, x, y, FitConfig(epochs=20, batch_size=30, learning_rate=0.01, class_weights={0: 0.0}))
    assert (ignoring.predict(x[y == 0]).argmax(axis=1) == 0).mean() < 0.3
    same = small()
    fit(
        same,
        x,
        y,
        FitConfig(epochs=20, batch_size=30, learning_rate=0.01),
        sample_weight=(y != 0).astype(np.float32),
    )
    np.testing.assert_array_equal(ignoring.parameters, same.parameters)


def test_label_smoothing_keeps_the_network_from_being_sure(blobs: tuple[Floats, Labels]) -> None:
    sure, unsure = small(), small()
    for network, smoothing in ((sure, 0.0), (unsure, 0.3)):
        fit(network, *blobs, FitConfig(epochs=40, batch_size=30, learning_rate=0.01, label_smoothing=smoothing))
    assert sure.predict(blobs[0]).max(axis=1).mean() > 0.97
    assert unsure.predict(blobs[0]).max(axis=1).mean() == pytest.approx(0.8, abs=0.06)


def test_a_callback_sees_every_epoch(blobs: tuple[Floats, Labels]) -> None:
    seen: list[int] = []
    fit(small(), *blobs, FitConfig(epochs=3), callbacks=[lambda run, epoch: seen.append(epoch.number + run.step)])
    assert seen == [4, 8, 12]


def test_the_librarys_example_trains_and_saves_a_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "library.md").read_text()
    example = page.partition("```python\n")[2].partition("```")[0]
    assert 5 <= len(example.strip().splitlines()) <= 20
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102 -- the documentation's own lines
    printed = float(re.findall(r"It prints `([0-9.]+)% correct", page)[0]) / 100
    assert names["result"].accuracy == pytest.approx(printed, abs=0.02)
    assert not set(names["test_rows"]) & set(names["train_rows"])  # it is judged on what it has not learned from
    assert names["result"].examples == len(names["test_rows"]) == 1000
    assert (tmp_path / "digits.npz").is_file()


def test_regression_fits_a_curve(rng: np.random.Generator) -> None:
    x = rng.uniform(-2, 2, (400, 1)).astype(np.float32)
    y = np.sin(2 * x)
    network = MLP(MLPConfig((1, 32, 32, 1), activation="tanh", output="linear", initializer="glorot"), 0)
    config = FitConfig(epochs=150, batch_size=40, loss="mean_squared_error", learning_rate=0.01, schedule="cosine")
    history = fit(network, x, y, config)
    assert history[-1].train.accuracy is None
    assert history[-1].train.loss < 1e-3


def test_several_labels_at_once_are_learned(rng: np.random.Generator) -> None:
    x = rng.normal(size=(500, 3)).astype(np.float32)
    labels = (x > 0).astype(np.float32)
    network = MLP(MLPConfig((3, 24, 3), output="sigmoid"), 0)
    history = fit(network, x, labels, FitConfig(epochs=40, loss="binary_cross_entropy", learning_rate=0.02))
    assert history[-1].train.accuracy is not None
    assert history[-1].train.accuracy > 0.97
    assert ((network.predict(x) > 0.5) == labels).mean() > 0.97


def test_one_sigmoid_tells_two_classes_apart(blobs: tuple[Floats, Labels]) -> None:
    x, y = blobs
    network = MLP(MLPConfig((2, 8, 1), output="sigmoid"), 0)
    config = FitConfig(epochs=30, batch_size=30, loss="binary_cross_entropy", learning_rate=0.02)
    history = fit(network, x, (y == 1).astype(np.int64), config)
    assert history[-1].train.accuracy == 1.0


def test_a_rate_that_is_too_high_is_reported_as_such(rng: np.random.Generator) -> None:
    x = (1e4 * rng.normal(size=(64, 4))).astype(np.float32)
    network = MLP(MLPConfig((4, 8, 1), output="linear"), 0)
    config = FitConfig(epochs=50, loss="mean_squared_error", optimizer="sgd", learning_rate=100)
    with pytest.raises(DivergedError, match=r"epoch \d+, step 1.*lower the learning rate"):
        fit(network, x, x[:, :1], config)


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (np.zeros((4, 3), "f"), np.zeros(4, int), r"x of shape \(n, 2\)"),
        (np.zeros((4, 2, 1), "f"), np.zeros(4, int), "flatten images first"),
        (np.zeros((0, 2), "f"), np.zeros(0, int), "n ≥ 1"),
        (np.full((4, 2), 1e300), np.zeros(4, int), "not finite"),
        (np.zeros((4, 2), "f"), np.zeros(5, int), "x has 4 rows, y has 5"),
        (np.full((4, 2), np.nan, "f"), np.zeros(4, int), "not finite"),
        (np.zeros((4, 2), "f"), np.array([0, 1, 2, 3]), "labels go from 0 to 3"),
        (np.zeros((4, 2), "f"), np.array([0, -1, 2, 1]), "labels go from -1 to 2"),
        (np.zeros((4, 2), "f"), np.zeros((4, 5), "f"), r"targets of shape \(n, 3\)"),
        (np.zeros((4, 2), "f"), np.full((4, 3), np.inf, "f"), "finite targets"),
    ],
)
def test_examples_that_do_not_fit_are_refused_before_the_first_step(x: Floats, y: Floats, says: str) -> None:
    network = small()
    before = network.parameters.copy()
    with pytest.raises(DataError, match=says):
        fit(network, x, y, FitConfig(epochs=1))
    np.testing.assert_array_equal(network.parameters, before)


def test_a_loss_that_does_not_go_with_the_output_is_refused(blobs: tuple[Floats, Labels]) -> None:
    with pytest.raises(ConfigError, match="wants the output softmax or linear, not sigmoid"):
        fit(small(output="sigmoid"), *blobs, FitConfig())


def test_bad_weights_are_refused(blobs: tuple[Floats, Labels]) -> None:
    for weights in (np.ones(3, "f"), -np.ones(300, "f"), np.full(300, np.nan, "f")):
        with pytest.raises(DataError, match="300 finite numbers"):
            fit(small(), *blobs, FitConfig(), sample_weight=weights)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0), ("epochs", 1.5), ("epochs", "3"), ("epochs", True), ("batch_size", 0), ("loss", "hinge"),
        ("optimizer", "lion"), ("schedule", "linear"), ("learning_rate", 0), ("learning_rate", float("nan")),
        ("learning_rate", -1.0), ("l2", -1), ("weight_decay", float("inf")), ("label_smoothing", 1.0),
        ("validation_share", 1.0), ("validation_every", 0), ("patience", 0), ("seed", -1), ("seed", 0.5),
        ("optimizer_options", {"beta3": 0.5}), ("optimizer_options", {"beta1": "a"}),
        ("schedule_options", {"drops": 3}), ("max_steps", 0), ("max_seconds", -1), ("stop_at_error", 2),
        ("class_weights", {"one": 1}), ("class_weights", {1: -1}), ("class_weights", [1]),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        FitConfig(**{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize("schedule", ["triangular", "cosine_restarts"])
def test_schedules_that_no_run_can_follow_are_refused(schedule: str) -> None:
    with pytest.raises(ConfigError, match="option cycles must be a whole number from 1") as caught:
        FitConfig(schedule=schedule, schedule_options={"cycles": 0})
    assert caught.value.field == "schedule_options"


def test_label_smoothing_without_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match="cross_entropy"):
        FitConfig(loss="quadratic", label_smoothing=0.1)
