"""What a manifest tells of the training examples."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.data import load_dataset
from training.evaluation.data_profile import ink_histogram, mean_intensity, profile

ROOT = Path(__file__).parents[2]


def test_ink_mass_is_the_mean_pixel() -> None:
    pictures = np.array([np.zeros((28, 28)), np.full((28, 28), 255), np.tile([0, 255], (28, 14))], np.uint8)
    np.testing.assert_allclose(mean_intensity(pictures), [0, 1, 0.5])


def test_a_baseline_has_equal_parts_that_hold_all_examples() -> None:
    digits = load_dataset("starter").train
    found = profile(digits)
    assert found["examples"] == 5000
    assert found["classes"] == {str(digit): 0.1 for digit in range(10)}
    assert np.isclose(found["ink"]["mean"], digits.images.mean() / 255, atol=1e-6)
    assert sum(found["ink"]["shares"]) == pytest.approx(1)
    assert max(abs(share - 0.1) for share in found["ink"]["shares"]) < 0.005
    counts = ink_histogram(mean_intensity(digits.images), np.array(found["ink"]["edges"], np.float32))
    assert np.allclose(np.array(counts) / 5000, found["ink"]["shares"])


@pytest.mark.mnist
def test_the_released_model_has_the_baseline_of_its_own_examples(mnist_source: Path) -> None:  # noqa: ARG001 -- skips
    from training import recipes
    from training.recipes.experiment import load_splits

    manifest = json.loads((ROOT / "models" / "mnist" / "1" / "manifest.json").read_bytes())
    examples = load_splits(recipes.get(manifest["recipe"]).replace(**manifest["settings"])).train
    assert examples.fingerprint() == manifest["data"]["fingerprint"]
    assert profile(examples) == manifest["baseline"]
