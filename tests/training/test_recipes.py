import json

import pytest

from training import recipes
from training.errors import ConfigError
from training.nn.config import MLPConfig
from training.recipes import RECIPES
from training.recipes.config import Recipe


@pytest.mark.parametrize("name", RECIPES)
def test_settings_survive_json_and_make_the_same_recipe(name: str) -> None:
    recipe = recipes.get(name)
    assert recipe.replace(**json.loads(json.dumps(recipe.to_flat_dict()))) == recipe
    assert recipe.description


def test_changes_reach_the_config_they_belong_to() -> None:
    changed = recipes.get("starter").replace(layers=[784, 32, 10], epochs=2, data="mnist", optimizer="sgd")
    assert changed.network.layers == (784, 32, 10)
    assert changed.fit.epochs == 2
    assert changed.fit.optimizer == "sgd"
    assert changed.data.data == "mnist"
    assert recipes.get("starter").fit.epochs != 2


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"epoch": 2}, "epoch"), ({"epochs": 0}, "epochs"), ({"layers": [784, -1, 10]}, "layers"),
        ({"layers": [100, 10]}, "layers"), ({"data": ""}, "data"), ({"test_share": 2}, "test_share"),
        ({"bias": "no"}, "bias"), ({"input": {"width": 3}}, "input"), ({"input": {"side": 27}}, "input"),
        ({"input": {"block": 3}}, "input"), ({"input": {"block": 2.0}}, "input"),
        ({"dropout": "x"}, "dropout"), ({"layers": None}, "layers"), ({"classes": 5}, "classes"),
        ({"optimizer": ["adam"]}, "optimizer"), ({"optimizer_options": 3}, "optimizer_options"),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused_by_name(settings: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        recipes.get("starter").replace(**settings)
    assert caught.value.field == field


def test_deformations_are_refused_where_the_network_sees_blocks() -> None:
    with pytest.raises(ConfigError, match="block must be 1"):
        recipes.get("sprint").replace(augment="shift")


def test_an_unknown_recipe_is_answered_with_the_list() -> None:
    with pytest.raises(ConfigError, match="starter"):
        recipes.get("stater")


def test_the_first_layer_must_be_as_wide_as_the_picture() -> None:
    with pytest.raises(ConfigError, match="must be 784"):
        Recipe("odd", "", network=MLPConfig(layers=(100, 10)))
