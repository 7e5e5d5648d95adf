"""Networks as estimators: fit, predict_classes, score, summary, labels of any type, histories and callbacks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import (
    MLP,
    ConfigError,
    DataError,
    Epoch,
    Experiment,
    FitConfig,
    MLPConfig,
    TrainingState,
    WeightsError,
    evaluate,
    load,
    recipes,
    save,
)
from training.export.npz import to_bytes

CONFIG = FitConfig(epochs=15, batch_size=32, learning_rate=0.01)
NAMES = np.array(["red", "green", "blue"])


@pytest.fixture
def blobs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Three clouds of points."""
    labels = rng.integers(0, 3, 300)
    centres = np.array([[2.0, 0.0], [-2.0, 1.0], [0.0, -2.0]])
    return centres[labels] + 0.3 * rng.normal(size=(300, 2)), labels


def small(outputs: int = 3, **settings: Any) -> MLP:
    return MLP(MLPConfig((2, 16, outputs), **settings))


@pytest.mark.parametrize(
    "labels",
    [
        NAMES,
        NAMES.astype(object),
        NAMES.astype("S"),
        np.array([10, 20, 30]),
        np.array([-1, 0, 7], np.int8),
        np.array([0, 1, 2], np.uint8),
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_labels_of_any_type_are_learned_and_predicted(labels: Any, blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, numbers = blobs
    y = labels[numbers]
    network = small()
    network.fit(x, y, CONFIG, validation=(x[:50], y[:50]))
    expected = y.astype(str) if y.dtype.kind in "SO" else y
    assert network.classes_.tolist() == sorted(set(expected.tolist()))
    assert (network.predict_classes(x) == expected).all()
    assert network.score(x, y) == 1.0
    evaluation = evaluate(network, x, y)
    assert evaluation.accuracy == 1.0
    assert evaluation.confusion_matrix.shape == (3, 3)


def test_class_numbers_train_as_they_always_did(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, numbers = blobs
    plain, named = small(), small()
    plain.fit(x, numbers, CONFIG)
    named.fit(x, np.array(["a", "b", "c"])[numbers], CONFIG)
    assert plain.parameters.tobytes() == named.parameters.tobytes()
    assert plain.classes_.tolist() == [0, 1, 2]


def test_one_sigmoid_has_two_labels(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, numbers = blobs
    y = np.where(numbers == 1, "yes", "no")
    network = small(1, output="sigmoid")
    network.fit(x, y, CONFIG, loss="binary_cross_entropy", epochs=30)
    assert network.classes_.tolist() == ["no", "yes"]
    assert (network.predict_classes(x) == y).all()
    assert evaluate(network, x, y).accuracy == network.score(x, y) == 1.0


def test_a_second_training_looks_labels_up_and_refuses_unknown_ones(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, numbers = blobs
    network = small()
    network.fit(x, NAMES[numbers], CONFIG)
    red = numbers == 0
    network.fit(x[red], NAMES[numbers[red]], epochs=1)
    assert network.classes_.tolist() == ["blue", "green", "red"]
    with pytest.raises(DataError, match="label 'grey', but the network knows the classes blue, green, red"):
        network.fit(x[:2], ["red", "grey"], epochs=1)
    with pytest.raises(DataError, match="network was trained on the labels blue, green, red"):
        network.score(x, numbers)
    with pytest.raises(DataError, match="label 'grey'"):
        small().fit(x, NAMES[numbers], CONFIG, validation=(x[:1], ["grey"]))


@pytest.mark.parametrize("y", [["red", None, "blue"], ["red", 1.5, "blue"], [None] * 3])
def test_labels_that_are_missing_or_mixed_are_refused(y: list[Any]) -> None:
    with pytest.raises(DataError, match="labels must be all text or all whole numbers"):
        small().fit(np.zeros((3, 2)), np.array(y, object), epochs=1)


def test_a_refused_training_leaves_the_labels_as_they_were() -> None:
    network = small()
    with pytest.raises(DataError, match="not finite"):
        network.fit(np.full((3, 2), np.nan), NAMES, epochs=1)
    assert network.classes_.tolist() == [0, 1, 2]


def test_labels_are_saved_with_the_network(blobs: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    x, numbers = blobs
    plain = to_bytes(small())
    assert b'"classes"' not in plain  # files without labels are those of earlier releases
    for labels in (NAMES, np.array([3, 5, 7])):
        network = small()
        network.fit(x, labels[numbers], CONFIG)
        save(network, tmp_path / "weights.npz")
        loaded = load(tmp_path / "weights.npz")
        assert loaded.predict_classes(x).tolist() == labels[numbers].tolist()


@pytest.mark.parametrize("classes", [["a", "b"], ["a", "a", "b"], ["a", 1, 2], "abc", [1.5, 2, 3], [10**30, 1, 2], {}])
def test_labels_of_a_file_are_checked(classes: Any) -> None:
    network = small()
    network.classes_ = np.array(["a", "b", "c"])
    assert load(to_bytes(network)).classes_.tolist() == ["a", "b", "c"]
    from training.inputs.class_labels import restored_classes

    with pytest.raises(DataError, match="must be 3 different labels"):
        restored_classes(classes, network)


def test_a_file_with_other_labels_than_outputs_is_refused() -> None:
    network = small()
    network.classes_ = np.array(["a", "b"])
    with pytest.raises(WeightsError, match="must be 3 different labels"):
        load(to_bytes(network))


def test_several_labels_a_row_are_scored_entry_by_entry(rng: np.random.Generator) -> None:
    x = rng.normal(size=(500, 3))
    y = x > 0
    network = MLP(MLPConfig((3, 24, 3), output="sigmoid"))
    network.fit(x, y, epochs=40, loss="binary_cross_entropy", learning_rate=0.02)
    assert network.score(x, y) == ((network.predict(x) > 0.5) == y).mean() > 0.97
    with pytest.raises(DataError, match=r"use score\(x, y\)"):
        evaluate(network, x, y)


def test_a_regression_is_scored_by_r2(rng: np.random.Generator) -> None:
    x = rng.uniform(-2, 2, (400, 1))
    y = np.sin(2 * x)
    network = MLP(MLPConfig((1, 32, 32, 1), activation="tanh", output="linear", initializer="glorot"))
    network.fit(x, y, FitConfig(epochs=60, batch_size=40, loss="mse", learning_rate=0.01))
    residual, total = ((y - network.predict(x)) ** 2).sum(), ((y - y.mean()) ** 2).sum()
    assert network.score(x, y) == network.score(x, y[:, 0]) == pytest.approx(1 - residual / total)
    assert network.score(x, y) > 0.98
    for action in (network.predict_classes, lambda x: evaluate(network, x, y)):
        with pytest.raises(ConfigError, match="has no classes; use"):
            action(x)


def test_r2_of_constant_targets_is_1_or_0() -> None:
    from training.evaluation.metrics import r2

    assert r2(np.ones((4, 1)), np.ones((4, 1))) == 1.0
    assert r2(np.zeros((4, 1)), np.ones((4, 1))) == 0.0
    outputs, targets = np.array([[1.0, 0], [2, 0]]), np.array([[1.0, 5], [2, 5]])
    assert r2(outputs, targets) == 0.5


def test_one_hot_targets_are_evaluated(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, numbers = blobs
    network = small()
    network.fit(x, np.eye(3)[numbers], CONFIG)
    assert evaluate(network, x, np.eye(3)[numbers]).accuracy == network.score(x, np.eye(3)[numbers]) == 1.0
    with pytest.raises(DataError, match="x has 300 rows, y has 5"):
        network.score(x, numbers[:5])
    with pytest.raises(DataError, match="y must have shape"):
        network.score(x, np.zeros((300, 2)))
    with pytest.raises(DataError, match="labels go from 0 to 3"):
        evaluate(network, x, np.arange(300) % 4)


@pytest.mark.parametrize("settings", [{}, {"batch_norm": True, "dropout": 0.1}, {"residual": True}])
def test_a_summary_has_a_line_for_each_layer(settings: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    network = MLP(MLPConfig((2, 16, 16, 3), **settings))
    network.summary()
    header, *layers, total = capsys.readouterr().out.splitlines()
    assert header.split() == ["layer", "output", "arrays", "parameters"]
    assert len(layers) == len(network.layers)
    assert sum(int(line.split()[-1].replace(",", "")) for line in layers) == len(network.parameters)
    assert "Dense" in layers[0]
    assert "(n, 16)" in layers[0]
    assert total.startswith(f"{len(network.parameters):,} parameters, float32")


def test_a_network_shows_what_it_is_made_of() -> None:
    assert repr(small()) == "MLP(layers=(2, 16, 3), activation='relu', output='softmax', parameters=99)"
    assert "dropout=0.5" in repr(small(dropout=0.5))


def test_a_history_is_a_list_of_epochs_and_a_table_of_columns(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    history = small().fit(*blobs, CONFIG, epochs=3, validation_share=0.2)
    assert [epoch.number for epoch in history] == history.columns()["number"] == [1, 2, 3]
    assert history.columns()["validation_accuracy"][-1] == history[-1].to_dict()["validation_accuracy"]
    assert type(history)().columns() == {}


def test_a_callback_that_stops_leaves_the_best_weights_if_they_are_kept(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = blobs
    noisy = (y + (x[:, 0] > 2)) % 3
    config = FitConfig(epochs=6, learning_rate=0.3, optimizer="sgd", keep_best=True, seed=3, batch_size=30)

    def stop(run: TrainingState, epoch: Epoch) -> None:
        run.stop_training = epoch.number == 4

    network = small(batch_norm=True)
    history = network.fit(x, y, config, validation=(x, noisy), callbacks=[stop])
    assert len(history) == 4
    best = max(epoch.validation.accuracy or 0 for epoch in history if epoch.validation)
    assert network.score(x, noisy) == pytest.approx(best)


def test_a_run_that_was_stopped_can_go_on(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    from training import train

    config = CONFIG.replace(epochs=3)
    run = TrainingState.start(small(), config)
    for _ in train(run, blobs, config):
        run.stop_training = True
    assert len(run.history) == 1
    assert len(list(train(run, blobs, config))) == 2


def test_an_experiment_goes_on_from_a_network_of_the_same_labels_only(tmp_path: Path, rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (60, 28, 28)).astype(np.uint8)
    x, y = images.reshape(60, 784) / 255, np.arange(60) % 3
    np.savez(tmp_path / "data.npz", images=images, labels=y, classes=np.array(["blue", "green", "red"]))
    recipe = recipes.get("starter").replace(data=str(tmp_path / "data.npz"), start_from=str(tmp_path / "weights.npz"))
    for labels, fits in ((["blue", "green", "red"], True), (["circle", "square", "star"], False)):
        network = MLP(MLPConfig((784, 8, 3)))
        network.fit(x, np.array(labels)[y], epochs=1)
        save(network, tmp_path / "weights.npz")
        if fits:
            assert len(list(Experiment(recipe.replace(epochs=1)).epochs())) == 1
        else:
            with pytest.raises(ConfigError, match="knows the classes circle, square, star, but the data has blue"):
                Experiment(recipe)
