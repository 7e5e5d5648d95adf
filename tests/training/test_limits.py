"""Every setting of every config is either taken, and trains, or refused by an error that names it."""

import dataclasses
import inspect
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from training import (
    MLP,
    ConfigError,
    DataConfig,
    DataError,
    FitConfig,
    MLPConfig,
    Recipe,
    TrainingError,
    TrainingState,
    fit,
    recipes,
    train,
)
from training.augment.random_deform import AUGMENTATIONS, make_augment
from training.data.dataset import Dataset, TrainTest
from training.fit.optim import OPTIMIZERS
from training.fit.schedules import SCHEDULES
from training.recipes.feasibility import check
from training.recipes.overrides import parse_overrides
from training.stored import restored
from training.vision.input_spec import InputSpec

ODD: tuple[Any, ...] = (
    *(None, True, False, "a", "", math.nan, math.inf, -1, -1e-3, 0, 0.5, 1, 2, 1.5, 10**30, 10**5000, 1e300),
    *([1], [None], {"a": 1}, {0: None}, np.float64("nan"), np.zeros(3)),
)
CONFIGS = {"network": MLPConfig, "fit": FitConfig, "data": DataConfig}
FIELDS = [(part, field.name) for part, kind in CONFIGS.items() for field in dataclasses.fields(kind)]
RECIPE = Recipe("small", "", MLPConfig((784, 4, 10)), FitConfig(epochs=2, batch_size=50, validation_share=0.2))
TABLES: dict[str, Mapping[str, Any]] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "augment": AUGMENTATIONS}
OPTIONS = [
    (kind, name, parameter.name)
    for kind, table in TABLES.items()
    for name, build in table.items()
    for parameter in inspect.signature(build).parameters.values()
    if parameter.kind is parameter.KEYWORD_ONLY
]


@pytest.fixture
def digits(rng: np.random.Generator) -> TrainTest:
    images = rng.integers(0, 255, (100, 28, 28)).astype(np.uint8)
    return TrainTest(Dataset("noise", images, np.arange(100) % 10))


def trained(recipe: Recipe, source: TrainTest) -> None:
    """Do what a job does, for one epoch, on pictures in memory."""
    check(recipe, source)
    images, labels = source.train.images, source.train.labels
    network = MLP(recipe.network, recipe.fit.seed)
    run = TrainingState.start(network, recipe.fit)
    examples = (recipe.network.input.to_features(images), labels)
    validation = None if recipe.fit.validation_share else examples
    next(train(run, examples, recipe.fit, validation=validation, augment=recipe.make_augment()))
    assert np.isfinite(network.parameters).all()


def refused(settings: dict[str, Any], source: TrainTest) -> TrainingError | None:
    """Train by the settings, or answer why not; any other error comes through."""
    try:
        recipe = RECIPE.replace(**settings)
        json.dumps(recipe.to_flat_dict(), allow_nan=False)
        trained(recipe, source)
    except TrainingError as error:
        return error
    return None


def assert_taken_or_refused(settings: dict[str, Any], field: str, source: TrainTest) -> None:
    error = refused(settings, source)
    if isinstance(error, ConfigError):
        assert error.field == field, settings
        assert len(str(error)) < 300
    else:
        # What the data rule out has no field; the gate of jobs names it.
        assert error is None or (isinstance(error, DataError) and field == "classes"), (settings, error)


@pytest.mark.parametrize(("part", "name"), FIELDS)
def test_every_field_is_taken_and_trains_or_is_refused_by_its_name(part: str, name: str, digits: TrainTest) -> None:
    for odd in ODD:
        assert_taken_or_refused({name: odd}, name, digits)
    assert refused({name: getattr(CONFIGS[part](), name)}, digits) is None or name in ("layers", "data")


@pytest.mark.parametrize(("kind", "name", "option"), OPTIONS)
def test_every_option_is_taken_and_trains_or_is_refused(kind: str, name: str, option: str, digits: TrainTest) -> None:
    for odd in ODD:
        assert_taken_or_refused({kind: name, f"{kind}_options": {option: odd}}, f"{kind}_options", digits)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(InputSpec)])
def test_every_field_of_the_input_form_is_taken_and_trains_or_is_refused(name: str, digits: TrainTest) -> None:
    for odd in ODD:
        width = {"side": 2, "block": 14}.get(name, 28) if type(odd) is int and odd == 2 else 28
        layers = (width**2, 4, 10)
        assert_taken_or_refused({"input": {name: odd}, "layers": layers}, "input", digits)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"batch_size": None}, "batch_size"),
        ({"epochs": None}, "epochs"),
        ({"seed": None}, "seed"),
        ({"l2": None}, "l2"),
        ({"dropout": None}, "dropout"),
        ({"bias": None}, "bias"),
        ({"input": None}, "input"),
        ({"input": {"low": "a"}}, "input"),
        ({"input": {"low": 1}}, "input"),
        ({"layers": [784, True, 10]}, "layers"),
        ({"optimizer_options": {"beta2": 1}}, "optimizer_options"),
        ({"optimizer_options": {"epsilon": 0}}, "optimizer_options"),
        ({"optimizer": "sgd", "optimizer_options": {"nesterov": 7, "momentum": 0.9}}, "optimizer_options"),
        ({"optimizer": "sgd", "optimizer_options": {"nesterov": True}}, "optimizer_options"),
        ({"optimizer": "sgd", "optimizer_options": {"momentum": 1.5}}, "optimizer_options"),
        ({"optimizer": "sgd", "optimizer_options": {"momentum": True}}, "optimizer_options"),
        ({"schedule": "cosine", "schedule_options": {"warm_up": 3}}, "schedule_options"),
        ({"schedule": "one_cycle", "schedule_options": {"rise": 2}}, "schedule_options"),
        ({"schedule": "cosine_restarts", "schedule_options": {"cycles": 1.5}}, "schedule_options"),
        ({"class_weights": {"1.5": 2}}, "class_weights"),
        ({"class_weights": {1.5: 2}}, "class_weights"),
        ({"class_weights": {True: 2}}, "class_weights"),
        ({"class_weights": {1: True}}, "class_weights"),
        ({"patience": 2, "validation_share": 0}, "patience"),
        ({"replacement": True, "steps_per_epoch": 10**9}, "steps_per_epoch"),
        ({"augment": "handwriting", "input": {"low": 1.0, "high": 0.0}}, "augment"),
        ({"classes": []}, "classes"),
        ({"classes": [1, 1]}, "classes"),
        ({"classes": [True, 0]}, "classes"),
        ({"test_share": True}, "test_share"),
        ({"split_seed": 1.5}, "split_seed"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_at_the_gate(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RECIPE.replace(**settings)
    assert caught.value.field == field


def test_a_word_among_typed_layers_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"layers must be two or more positive whole numbers.*True"):
        RECIPE.replace(**parse_overrides(["layers=784,true,10"]))


def test_what_only_the_data_rule_out_is_refused_before_the_first_step(digits: TrainTest) -> None:
    for settings, field in (
        ({"class_weights": {99: 2}}, "class_weights"),
        ({"batch_norm": True, "batch_size": 1}, "batch_size"),
        ({"patience": 2, "watch": "test", "validation_share": 0.0}, "patience"),
    ):
        recipe = RECIPE.replace(**settings)
        with pytest.raises(ConfigError) as caught:
            check(recipe, digits)
        assert caught.value.field == field
        x, y = recipe.network.input.to_features(digits.train.images), digits.train.labels
        with pytest.raises(ConfigError) as caught:
            fit(MLP(recipe.network), x, y, recipe.fit)
        assert caught.value.field == field


def test_numbers_of_numpy_are_taken_and_become_python_s() -> None:
    network = MLPConfig(np.array([784, 8, 10]), dropout=np.float32(0.5), bias=np.True_, input=InputSpec(np.int64(28)))  # type: ignore[arg-type]
    config = FitConfig(
        epochs=np.int32(3),  # type: ignore[arg-type]
        learning_rate=np.float64(0.01),
        shuffle=np.False_,  # type: ignore[arg-type]
        class_weights={np.int64(1): np.float32(2)},  # type: ignore[dict-item]
        optimizer_options={"beta1": np.float32(0.5)},
    )
    data = DataConfig(classes=np.arange(3), test_share=np.float16(0.5))  # type: ignore[arg-type]
    for made in (network, config, data):
        assert restored(type(made), json.loads(json.dumps(dataclasses.asdict(made))), "it") == made
    assert network.layers == (784, 8, 10)
    assert (config.epochs, config.shuffle, config.class_weights) == (3, False, {1: 2.0})


def test_every_recipe_and_every_released_setting_passes_the_gate() -> None:
    for recipe in recipes.RECIPES.values():
        assert recipe.replace(**json.loads(json.dumps(recipe.to_flat_dict()))).to_flat_dict() == recipe.to_flat_dict()
    assert make_augment("none", {}) is None
