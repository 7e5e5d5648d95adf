"""How many classes a training needs, and how the last layer follows them."""

from pathlib import Path

import numpy as np
import pytest

from training import Experiment, recipes
from training.data import Dataset, load_dataset, save_image_folder
from training.errors import ConfigError, DataError

STARTER = recipes.get("starter").replace(epochs=1, max_steps=2)
DIGITS = load_dataset("starter").train


def letters(folder: Path, count: int = 26) -> str:
    """A set of so many classes, named by letters, in an `.npz`."""
    some = DIGITS.select(np.arange(10 * count))
    names = np.array([chr(ord("A") + number) for number in range(count)])
    np.savez(folder / "letters.npz", images=some.images, labels=np.arange(10 * count) % count, classes=names)
    return str(folder / "letters.npz")


def test_one_class_is_refused_in_every_form_before_training(tmp_path: Path) -> None:
    sevens = DIGITS.select(np.flatnonzero(DIGITS.labels == 7)[:20])
    np.savez(tmp_path / "digits.npz", images=sevens.images, labels=sevens.labels)
    np.savez(tmp_path / "named.npz", images=sevens.images, labels=sevens.labels * 0, classes=np.array(["seven"]))
    save_image_folder(Dataset("s", sevens.images, sevens.labels * 0, ("seven",)), tmp_path / "folder")
    for name in ("digits.npz", "named.npz", "folder"):
        for recipe in (STARTER, STARTER.replace(layers=(784, 4, 1)), STARTER.replace(validation_share=0.0)):
            with pytest.raises(DataError, match=r"has examples of 1 class \((7|seven)\); at least two are needed"):
                Experiment(recipe.replace(data=str(tmp_path / name)))
    with pytest.raises(DataError, match="has examples of 1 class"):
        Experiment(STARTER.replace(classes=(3,), layers=(784, 4, 1)))


def test_extra_examples_may_be_of_one_class(tmp_path: Path) -> None:
    sevens = DIGITS.select(np.flatnonzero(DIGITS.labels == 7)[:20])
    save_image_folder(Dataset("s", sevens.images, sevens.labels * 0, ("7",)), tmp_path / "extra")
    extra = Experiment(STARTER.replace(extra_data=str(tmp_path / "extra"))).splits.extra
    assert extra
    assert set(extra.train.labels) == {7}


@pytest.mark.parametrize("name", ["starter", "corrections"])
@pytest.mark.parametrize("count", [2, 26])
def test_the_last_layer_follows_the_classes_unless_layers_are_set(name: str, count: int, tmp_path: Path) -> None:
    recipe = recipes.get(name).replace(data=letters(tmp_path, count), epochs=1, max_steps=2)
    if recipe.requires_initial_weights:
        with pytest.raises(ConfigError, match="start_from"):
            Experiment(recipe)
        return
    experiment = Experiment(recipe)
    assert experiment.network.config.layers == (784, 128, 64, count)
    assert experiment.recipe.to_flat_dict()["layers"][-1] == count
    assert [epoch.number for epoch in experiment.epochs()] == [1]
    for layers in ((784, 128, 64, 10), (784, 8, count + 1)):
        with pytest.raises(ConfigError, match=f"has {count} classes, but the last of layers is {layers[-1]}") as caught:
            Experiment(recipe.replace(layers=layers))
        assert caught.value.field == "layers"


def test_what_is_set_stays_set_when_more_is_changed(tmp_path: Path) -> None:
    recipe = STARTER.replace(layers=(784, 8, 10)).replace(seed=3).replace(data=letters(tmp_path))
    with pytest.raises(ConfigError, match="has 26 classes"):
        Experiment(recipe)


def test_a_network_that_has_learned_goes_on_with_its_own_layers(tmp_path: Path) -> None:
    first = Experiment(STARTER.replace(data=letters(tmp_path)))
    first.save(tmp_path)
    going_on = STARTER.replace(data=letters(tmp_path), start_from=str(tmp_path / "weights.npz"))
    assert Experiment(going_on).network.config.layers[-1] == 26
    with pytest.raises(ConfigError, match="has 10 classes, but the last of layers is 26"):
        Experiment(going_on.replace(data="starter"))
