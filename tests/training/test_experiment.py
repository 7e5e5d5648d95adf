import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from training import ConfigError, DataError, Experiment, evaluate, load, recipes
from training.recipes.experiment import load_splits

QUICK = recipes.get("starter").replace(epochs=3, layers=(784, 32, 10))


def test_splits_do_not_overlap_and_are_the_same_for_every_seed() -> None:
    one, other = load_splits(QUICK.replace(test_share=0.1)), load_splits(QUICK.replace(test_share=0.1, seed=9))
    assert one.validation is not None
    assert one.test is not None
    assert (len(one.train), len(one.validation), len(one.test)) == (3600, 900, 500)
    parts = (one.train, one.validation, one.test)
    pictures = [picture.tobytes() for part in parts for picture in part.images]
    assert len(set(pictures)) == 5000
    np.testing.assert_array_equal(one.test.images, other.test.images if other.test else None)
    assert np.bincount(one.test.labels).tolist() == [50] * 10


def test_what_is_saved_is_what_was_trained_and_the_manifest_tells_the_truth(tmp_path: Path) -> None:
    experiment = Experiment(QUICK)
    epochs = list(experiment.epochs())
    manifest = experiment.save(tmp_path)
    assert json.loads((tmp_path / "manifest.json").read_text()) == manifest
    assert manifest["weights_sha256"] == sha256((tmp_path / "weights.npz").read_bytes()).hexdigest()
    assert manifest["metrics"]["epochs"] == len(epochs) == 3
    held_out = experiment.splits.final_test
    assert manifest["metrics"]["validation_accuracy"] == evaluate(load(tmp_path / "weights.npz"), held_out).accuracy
    assert manifest["settings"]["layers"] == [784, 32, 10]
    assert manifest["labels"] == list("0123456789")


def test_the_same_recipe_makes_the_same_file(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        experiment = Experiment(QUICK)
        list(experiment.epochs())
        experiment.save(tmp_path / folder)
    assert (tmp_path / "one" / "weights.npz").read_bytes() == (tmp_path / "two" / "weights.npz").read_bytes()


def test_two_classes_can_be_told_apart_by_one_output(tmp_path: Path) -> None:
    recipe = QUICK.replace(classes=[0, 1], layers=[784, 16, 1], output="sigmoid", loss="binary_cross_entropy", epochs=5)
    experiment = Experiment(recipe)
    list(experiment.epochs())
    assert experiment.evaluation().accuracy > 0.98
    assert experiment.save(tmp_path)["labels"] == ["0", "1"]


def test_classes_and_outputs_must_agree() -> None:
    with pytest.raises(ConfigError, match="10 classes, but the last of layers is 7"):
        Experiment(QUICK.replace(layers=[784, 7]))
    with pytest.raises(DataError, match="classes 0 to 9"):
        Experiment(QUICK.replace(classes=[3, 12]))


def test_a_missing_source_says_what_there_is() -> None:
    with pytest.raises(DataError, match="none of starter, mnist"):
        Experiment(QUICK.replace(data="nowhere"))


@pytest.mark.mnist
def test_released_models_read_mnists_test_images_as_well_as_they_say(mnist_source: object) -> None:  # noqa: ARG001 -- skips where MNIST is not
    test = load_splits(recipes.get("mnist")).test
    assert test is not None
    for weights in (Path(__file__).parents[2] / "models").glob("*/*/weights.npz"):
        manifest = json.loads(weights.with_name("manifest.json").read_text())
        judged = evaluate(load(weights), test)
        # Another BLAS may round another way.
        assert judged.accuracy == pytest.approx(manifest["metrics"]["test_accuracy"], abs=2e-4)
        assert judged.accuracy >= (0.99 if "calibration" in manifest else 0.98), weights
        assert judged.calibration_error <= 0.01, weights
