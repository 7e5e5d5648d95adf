"""What users of other libraries write: it works, or the error says what to write instead.

The numbers are those of a list of 31 trials; the four that are missing worked from the start.
"""

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import (
    MLP,
    ConfigError,
    DataError,
    Epoch,
    FitConfig,
    MLPConfig,
    Recipe,
    TrainingState,
    WeightsError,
    evaluate,
    fit,
    load,
    print_line,
    recipes,
)
from training.settings import ALIASES, HINTS, UnknownSettingError

CONFIG = FitConfig(epochs=2, batch_size=8)
Y = np.arange(40) % 10


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (40, 28, 28)).astype(np.uint8)


@pytest.fixture
def x(images: np.ndarray) -> np.ndarray:
    return images.reshape(40, 784) / np.float32(255)


def small(outputs: int = 10, **settings: Any) -> MLP:
    return MLP(MLPConfig((784, 8, outputs), **settings))


def trained(x: Any, y: Any, config: FitConfig = CONFIG, **options: Any) -> MLP:
    network = small()
    fit(network, x, y, config, **options)
    return network


def assert_same(*networks: MLP) -> None:
    for network in networks[1:]:
        np.testing.assert_array_equal(network.parameters, networks[0].parameters)


def refused(action: Callable[[], object], says: str, kind: type[Exception] = DataError) -> None:
    with pytest.raises(kind, match=says):
        action()


def test_1_images_are_refused_and_the_error_names_features(images: np.ndarray) -> None:
    for given in (images, images / 255):
        refused(lambda given=given: fit(small(), given, Y), r"network\.config\.input\.to_features\(images\)")  # type: ignore[misc]


def test_2_and_3_raw_pixels_are_refused_and_the_error_says_to_divide(images: np.ndarray) -> None:
    rows = images.reshape(40, 784)
    for given in (rows, rows.astype(np.float32)):
        refused(lambda given=given: fit(small(), given, Y), "divide pixels by 255")  # type: ignore[misc]


def test_4_float64_and_lists_are_converted(x: np.ndarray) -> None:
    assert_same(trained(x, Y), trained(x.astype(np.float64), Y), trained(x.tolist(), Y.tolist()))
    assert small().predict(x.astype(np.float64)).dtype == np.float32
    assert_same(trained(x, Y), trained(x.astype(object), Y.astype(object)))  # as data frames of several types give


def test_4_a_float32_array_is_not_copied(x: np.ndarray) -> None:
    from training.inputs.array_likes import rows

    assert np.shares_memory(rows(small().config, np.dtype(np.float32), x), x)


def test_5_one_hot_targets_are_taken(x: np.ndarray) -> None:
    one_hot = np.eye(10)[Y]
    np.testing.assert_allclose(trained(x, one_hot).parameters, trained(x, Y).parameters, atol=1e-6)


def test_6_a_column_and_text_are_taken_and_floats_are_refused_with_the_cure(x: np.ndarray) -> None:
    names = np.array([f"digit {number}" for number in range(10)])
    assert_same(trained(x, Y), trained(x, Y[:, np.newaxis]), trained(x, names[Y]), trained(x, list(names[Y])))
    refused(lambda: trained(x, Y.astype(float)), r"must be integers: use y\.astype\(int\)")


def test_7_labels_from_1_are_taken_and_a_wrong_number_of_classes_is_refused(x: np.ndarray) -> None:
    network = trained(x, Y + 1)
    assert_same(trained(x, Y), network)
    assert network.classes_.tolist() == list(range(1, 11))
    refused(lambda: trained(x, np.arange(40) % 11), "labels go from 0 to 10, .* set the last of layers to 11")
    refused(lambda: trained(x, np.arange(40) % 11 - 1), "labels go from -1 to 9, .* renumber them from 0")


def test_8_predict_takes_lists_and_says_how_to_give_a_row_or_an_image(x: np.ndarray, images: np.ndarray) -> None:
    network = small()
    assert network.predict(x.tolist()).shape == (40, 10)
    refused(lambda: network.predict(x[0]), r"give a single row as x\[np\.newaxis\]")
    refused(lambda: network.predict(images), "flatten images first")
    refused(lambda: network.predict(x[:, :5]), "set the first of layers to 5")


def test_9_and_10_predict_refuses_raw_pixels_and_nan(x: np.ndarray, images: np.ndarray) -> None:
    refused(lambda: small().predict(images.reshape(40, 784)), "divide pixels by 255")
    refused(lambda: small().predict(x * 255 // 1), "divide pixels by 255")
    refused(lambda: small().predict(np.full((1, 784), np.nan)), "not finite")


def test_11_a_network_has_fit_and_both_take_settings_as_keywords(x: np.ndarray) -> None:
    other = small()
    assert len(other.fit(x, Y, epochs=2, batch_size=8)) == 2
    assert_same(trained(x, Y), other, trained(x, Y, CONFIG.replace(epochs=9), epochs=2))


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("lr", "use learning_rate"),
        ("momentum", r"use optimizer='sgd', optimizer_options=\{'momentum': 0\.9\}"),
        ("verbose", "use callbacks=print_line"),
        ("validation_data", r"use the argument validation=\(x, y\) of fit"),
        ("epoch", r"did you mean epochs\?"),
        ("zzz", "its settings are epochs, batch_size"),
    ],
)
def test_12_unknown_settings_are_refused_and_the_right_ones_named(setting: str, says: str, x: np.ndarray) -> None:
    unknown: dict[str, Any] = {setting: 0.1}
    for action in (
        lambda: FitConfig(**unknown),
        lambda: CONFIG.replace(**unknown),
        lambda: small().fit(x, Y, **unknown),
    ):
        refused(action, f"unknown setting '{setting}' of FitConfig; {says}", UnknownSettingError)
    refused(lambda: FitConfig(**unknown), says, TypeError)  # as Python raises for unknown keywords
    of_recipe = f"unknown setting '{setting}' of a recipe"
    refused(lambda: recipes.get("starter").replace(**unknown), of_recipe, ConfigError)


def test_12_an_unknown_setting_of_a_network_is_refused() -> None:
    refused(lambda: MLPConfig(hidden_layer_sizes=(8,)), r"use MLPConfig\(layers=", UnknownSettingError)  # type: ignore[call-arg]


def test_12_the_settings_that_hints_name_exist() -> None:
    known = {field.name for kind in (FitConfig, MLPConfig) for field in fields(kind)}
    for hint in HINTS.values():
        if hint.isidentifier():
            assert hint in known, hint


def test_13_an_optimizer_may_be_capitalised_and_adamw_is_explained() -> None:
    assert FitConfig(optimizer="Adam") == FitConfig(optimizer="adam")
    refused(lambda: FitConfig(optimizer="AdamW"), "AdamW is optimizer='adam' with weight_decay", ConfigError)
    refused(lambda: FitConfig(optimizer="lion"), "choose one of sgd, adagrad, rmsprop, adam", ConfigError)


def test_14_losses_have_the_names_of_keras_too() -> None:
    assert FitConfig(loss="mse").loss == "mean_squared_error"
    assert FitConfig(loss="sparse_categorical_crossentropy").loss == "cross_entropy"
    assert FitConfig(loss="bce").loss == "binary_cross_entropy"


def test_15_activations_have_their_usual_names_and_gelu_is_explained() -> None:
    assert MLPConfig(activation="SiLU", output="identity") == MLPConfig(activation="swish", output="linear")
    refused(lambda: MLPConfig(activation="gelu"), r"choose one of linear, .*the closest to GELU is swish", ConfigError)


def test_14_and_15_every_alias_names_an_entry_of_its_table() -> None:
    for name, aliases in ALIASES.items():
        kind: Any = FitConfig if name == "loss" else MLPConfig
        for alias, meant in aliases.items():
            assert getattr(kind(**{name: alias}), name) == meant, alias


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"batch_size": None}, "batch_size must be a whole number from 1 .* not None; leave it out for the default"),
        ({"shuffle": "no"}, "shuffle must be true or false, not 'no'"),
    ],
)
def test_17_settings_of_another_type_are_refused(settings: dict[str, Any], says: str) -> None:
    refused(lambda: FitConfig(**settings), says, ConfigError)


def test_17_and_18_switches_and_rates_of_a_network_are_checked() -> None:
    refused(lambda: small(batch_norm="no"), "batch_norm must be true or false", ConfigError)
    refused(lambda: small(dropout=None), "dropout must be at least 0 and below 1, not None; leave it out", ConfigError)


def test_20_ten_classes_and_five_outputs_are_refused(x: np.ndarray) -> None:
    refused(lambda: small(5).fit(x, Y), "labels go from 0 to 9, .* set the last of layers to 10")
    refused(lambda: small(5).fit(x, Y.astype(str)), "y has 10 different labels .* set the last of layers to 10")


@pytest.mark.parametrize("arguments", [((784, 10),), (784, 128, 10), ([784, 10],), ()])
def test_21_a_network_is_made_of_a_config(arguments: tuple[Any, ...]) -> None:
    says = r"MLP\(MLPConfig\(layers=" if arguments else "config"
    refused(lambda: MLP(*arguments), says, ConfigError if arguments else TypeError)


def test_23_a_config_cannot_be_changed_and_the_error_names_replace() -> None:
    for config, name in ((FitConfig(), "epochs"), (MLPConfig(), "dropout")):
        with pytest.raises(FrozenInstanceError, match=rf"config = config\.replace\({name}=3\)"):
            setattr(config, name, 3)


def test_24_evaluate_takes_x_and_y_and_refuses_a_pair(x: np.ndarray) -> None:
    network = trained(x, Y)
    evaluation = evaluate(network, x, Y)
    assert evaluation.examples == 40
    assert evaluation.accuracy == network.score(x, Y)
    pair: Any = (x, Y)
    refused(lambda: evaluate(network, pair), r"evaluate\(network, x, y\); got a tuple and no y")


def test_25_class_weights_may_be_balanced_and_unknown_classes_are_refused(x: np.ndarray) -> None:
    y = np.where(Y < 7, Y, 0)
    counts = np.bincount(y, minlength=10)
    weights = {label: 40 / (7 * count) for label, count in enumerate(counts.tolist()) if count}
    balanced = trained(x, y, CONFIG.replace(class_weights="balanced"))
    assert_same(balanced, trained(x, y, CONFIG.replace(class_weights=weights)))
    assert (balanced.parameters != trained(x, y).parameters).any()
    refused(lambda: trained(x, Y, class_weights={99: 2}), "class_weights names class 99", ConfigError)
    refused(lambda: FitConfig(class_weights="equal"), "class_weights must be 'balanced' or map", ConfigError)


def test_26_sample_weight_is_the_name_and_the_former_one_warns(x: np.ndarray) -> None:
    weights = np.linspace(0, 1, 40)
    with pytest.warns(DeprecationWarning, match="use sample_weight"):
        former = trained(x, Y, sample_weights=weights)
    assert_same(trained(x, Y, sample_weight=weights), former)
    assert (former.parameters != trained(x, Y).parameters).any()


def test_27_a_callback_may_come_alone(x: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    trained(x, Y, callbacks=print_line)
    assert capsys.readouterr().out.count("epoch") == 2
    refused(lambda: trained(x, Y, callbacks=["print"]), "callbacks must be functions", ConfigError)
    refused(lambda: trained(x, Y, callbacks=3), "callbacks must be functions", ConfigError)


def test_27_a_callback_can_stop_the_training(x: np.ndarray) -> None:
    def by_exception(_: TrainingState, epoch: Epoch) -> None:
        if epoch.number == 2:
            raise StopIteration

    def by_flag(run: TrainingState, epoch: Epoch) -> None:
        run.stop_training = epoch.number == 2

    for callback in (by_exception, by_flag):
        assert len(small().fit(x, Y, epochs=9, callbacks=callback)) == 2


def test_29_a_file_that_is_missing_or_no_network_is_named_as_such(tmp_path: Path) -> None:
    refused(lambda: load(tmp_path / "weights.npz"), r"weights\.npz cannot be read", WeightsError)
    np.savez(tmp_path / "foreign.npz", weights=np.zeros(3))
    refused(lambda: load(tmp_path / "foreign.npz"), "not a weights file: it has no header.*training.save", WeightsError)
    (tmp_path / "model.keras").write_bytes(b"HDF")
    refused(lambda: load(tmp_path / "model.keras"), "not a weights file", WeightsError)


def test_30_a_copied_network_learns(x: np.ndarray) -> None:
    for twin in (copy.deepcopy(small()), pickle.loads(pickle.dumps(small()))):  # noqa: S301 -- our own bytes
        twin.fit(x, Y, CONFIG)
        assert_same(trained(x, Y), twin)


def test_31_configs_are_hashable_and_cloning_a_network_names_the_estimator() -> None:
    assert hash(FitConfig(class_weights={1: 2.0})) == hash(FitConfig(class_weights={1: 2}))
    assert isinstance(hash(Recipe("r", "")), int)
    refused(small().__sklearn_clone__, r"use MLPClassifier\(…\)", TypeError)
    sklearn = pytest.importorskip("sklearn.base", reason="scikit-learn is not installed")
    refused(lambda: sklearn.clone(small()), r"use MLPClassifier\(…\)", TypeError)
