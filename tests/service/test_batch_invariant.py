"""A picture's answer is the same to the last bit, whatever it is batched with."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from service.registry.manifest import Manifest, VerifiedModel
from service.serving.batch_invariant import batch_invariant_forward, is_batch_invariant
from service.serving.model import ServingModel, load_and_warm
from training import MLP, Dataset, MLPConfig

CONFIGS = {
    "784-256-128-10": MLPConfig((784, 256, 128, 10)),
    "784-100-10": MLPConfig((784, 100, 10), activation="tanh"),
    "784-30-30-10, residual": MLPConfig((784, 30, 30, 10), batch_norm=True, residual=True, activation="swish"),
    "784-30-1": MLPConfig((784, 30, 1), output="sigmoid"),
    "784-10": MLPConfig((784, 10), bias=False, output="linear"),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_rows_answer_the_same_bits_in_any_company(config: MLPConfig, digits: Dataset) -> None:
    network = MLP(config)
    outputs = batch_invariant_forward(network)
    features = config.input.to_features(digits.images[:200])
    together = outputs(features)
    for start, count in ((0, 1), (7, 1), (3, 2), (50, 3), (11, 17), (100, 64), (137, 63)):
        assert np.array_equal(outputs(features[start : start + count]), together[start : start + count])
    np.testing.assert_allclose(together, network.predict(features), atol=1e-5)
    assert outputs(features[:0]).shape == (0, config.layers[-1])


def test_an_order_of_additions_that_depends_on_the_company_is_noticed() -> None:
    network = MLP(CONFIGS["784-10"])

    def loose(x: Any) -> Any:
        half = 100 * (1 + len(x) % 2)  # as BLAS splits a sum by the number of rows
        weight = network.parameters.reshape(784, 10)
        return x[:, :half] @ weight[:half] + x[:, half:] @ weight[half:]

    assert not is_batch_invariant(loose, network)


def test_a_snapshot_answers_a_digit_the_same_bits_alone_and_among_others(digits: Dataset) -> None:
    network = MLP(CONFIGS["784-30-1"])
    loaded = VerifiedModel(
        Manifest("two", 1, {"labels": ["a", "b"], "weights_sha256": "", "temperature": 1.5}), network
    )
    snapshot: ServingModel = load_and_warm(loaded, generation=1)
    together = snapshot.predict(digits.images[:40])
    assert together.shape == (40, 2)
    for place in range(40):
        assert np.array_equal(snapshot.predict(digits.images[place : place + 1])[0], together[place])


ON_ANOTHER_PROCESSOR = """
import numpy as np
from service.serving.batch_invariant import is_batch_invariant, batch_invariant_forward
from training import MLP, MLPConfig
for layers in ((784, 256, 128, 10), (784, 100, 10)):
    network = MLP(MLPConfig(layers))
    assert is_batch_invariant(batch_invariant_forward(network), network)
"""


@pytest.mark.parametrize("kernels", ["Prescott", "Sandybridge", "Haswell"])
def test_it_holds_with_the_kernels_for_other_processors(kernels: str) -> None:
    # OpenBLAS ignores a name that this processor, or this build of it, does not know.
    environment = os.environ | {"OPENBLAS_CORETYPE": kernels, "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", ON_ANOTHER_PROCESSOR], check=True, env=environment)
