"""Temperature scaling and selective prediction.

Predictions made with 90 % confidence should be right 90 % of the time. Temperature scaling divides the logits by one
number that is fitted on held-out examples (Guo et al. 2017); it changes no predicted class. Rejecting predictions below
a confidence threshold then trades coverage for risk.
"""

from dataclasses import dataclass

import numpy as np

from training.errors import ConfigError
from training.nn.layers import Dense
from training.nn.mlp import MLP
from training.types import Floats, Labels

_LOW, _HIGH = 0.05, 20.0
_GOLDEN = (5**0.5 - 1) / 2

COVERAGES = (1.0, 0.999, 0.998, 0.995, 0.99, 0.98, 0.95, 0.9)


@dataclass(frozen=True)
class RiskCoveragePoint:
    """The effect of rejecting predictions with a confidence below `threshold`."""

    threshold: float
    coverage: float
    """Fraction of the examples that are not rejected."""
    wrong: int
    """Number of errors among these."""
    risk: float
    """Error rate among these."""


def negative_log_likelihood(logits: Floats, labels: Labels, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood at a temperature, in float64; logits (n, k), labels (n,)."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    correct = np.take_along_axis(scaled, labels[:, np.newaxis], axis=1)[:, 0]
    return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - correct))


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """Minimise the negative log-likelihood over temperatures from 0.05 to 20, by golden-section search."""
    low, high = np.log(_LOW), np.log(_HIGH)
    while high - low > 1e-4:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if negative_log_likelihood(logits, labels, np.exp(left)) < negative_log_likelihood(
            logits, labels, np.exp(right)
        ):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def fold_temperature(network: MLP, temperature: float) -> None:
    """Divide the weights of the last layer by a temperature, so that exported networks need no extra step.

    Raises ConfigError for outputs other than softmax.
    """
    last = network.layers[-1]
    if network.config.output != "softmax" or not isinstance(last, Dense):
        raise ConfigError(f"a temperature goes with softmax, not {network.config.output}", field="output")
    last.weight /= temperature
    if last.bias is not None:
        last.bias /= temperature


def risk_coverage_curve(
    probabilities: Floats, labels: Labels, coverages: tuple[float, ...] = COVERAGES
) -> list[RiskCoveragePoint]:
    """Return the risk at each coverage, rejecting the least confident predictions first."""
    confidence, wrong = _errors_by_confidence(probabilities, labels)
    table = []
    for coverage in coverages:
        kept = max(1, round(coverage * len(labels)))
        errors = int(wrong[kept - 1])
        table.append(RiskCoveragePoint(float(confidence[kept - 1]), kept / len(labels), errors, errors / kept))
    return table


def risk_coverage_at(probabilities: Floats, labels: Labels, threshold: float) -> RiskCoveragePoint:
    """Return coverage and risk at a threshold."""
    kept = probabilities.max(axis=1) >= threshold
    errors = int(np.count_nonzero(probabilities.argmax(axis=1)[kept] != labels[kept]))
    count = int(np.count_nonzero(kept))
    return RiskCoveragePoint(threshold, count / max(len(labels), 1), errors, errors / max(count, 1))


def threshold_for_risk(probabilities: Floats, labels: Labels, risk: float) -> float:
    """Return the smallest threshold with at most this risk; 1 if there is none."""
    confidence, wrong = _errors_by_confidence(probabilities, labels)
    fine = np.flatnonzero(wrong <= risk * np.arange(1, len(labels) + 1))
    return float(confidence[fine[-1]]) if len(fine) else 1.0


def _errors_by_confidence(probabilities: Floats, labels: Labels) -> tuple[Floats, Labels]:
    """Return the confidences in descending order, and the number of errors among the first 1, 2, … of them."""
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    return confidence[order], np.cumsum(probabilities.argmax(axis=1)[order] != labels[order])
