import numpy as np
import pytest

from training import MLP, ConfigError, MLPConfig
from training.evaluation.calibration import (
    fit_temperature,
    fold_temperature,
    negative_log_likelihood,
    risk_coverage_at,
    risk_coverage_curve,
    threshold_for_risk,
)
from training.evaluation.metrics import expected_calibration_error
from training.nn.losses import cross_entropy


def drawn(temperature: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their softmax at a temperature."""
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 4, (count, 10)).astype(np.float32)
    noise = rng.gumbel(size=logits.shape)
    return logits, (logits / temperature + noise).argmax(axis=1)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_labels_were_drawn_at_is_found_and_calibrates(temperature: float) -> None:
    logits, labels = drawn(temperature)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.05)
    assert expected_calibration_error(softmax(logits / found), labels) < 0.01


def test_surprise_is_the_cross_entropy() -> None:
    logits, labels = drawn(1.0, 500)
    assert negative_log_likelihood(logits, labels) == pytest.approx(cross_entropy(logits, labels)[0], rel=1e-5)
    assert negative_log_likelihood(logits, labels, 2.0) == pytest.approx(cross_entropy(logits / 2, labels)[0], rel=1e-5)


def test_a_folded_temperature_divides_the_logits_and_changes_no_answer() -> None:
    network = MLP(MLPConfig(layers=(784, 32, 10)), 1)
    network.state_dict()["2.bias"][:] = np.arange(10)
    x = np.random.default_rng(0).random((50, 784), np.float32)
    before = network.forward(x)[0]
    fold_temperature(network, 0.6)
    np.testing.assert_allclose(network.forward(x)[0], before / 0.6, rtol=1e-4, atol=1e-5)


def test_outputs_without_softmax_have_no_temperature() -> None:
    with pytest.raises(ConfigError, match="sigmoid"):
        fold_temperature(MLP(MLPConfig(layers=(784, 10), output="sigmoid")), 2.0)


def test_refusing_the_unsure_answers_leaves_fewer_wrong_ones() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.45, 0.55]])
    labels = np.array([0, 1, 1, 1])
    table = risk_coverage_curve(probabilities, labels, (1.0, 0.75, 0.5))
    assert [(row.threshold, row.coverage, row.wrong) for row in table] == [
        (0.55, 1.0, 1),
        (0.6, 0.75, 1),
        (0.8, 0.5, 0),
    ]
    assert [row.risk for row in table] == [0.25, 1 / 3, 0.0]
    assert threshold_for_risk(probabilities, labels, 0.0) == 0.8
    assert threshold_for_risk(probabilities, labels, 0.25) == 0.55
    assert threshold_for_risk(probabilities, 1 - labels, 0.0) == 1.0
    kept = risk_coverage_at(probabilities, labels, 0.6)
    assert (kept.coverage, kept.wrong, kept.risk) == (0.75, 1, 1 / 3)
