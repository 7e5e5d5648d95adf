"""Confidence that means frequency: of what a network gives 90 %, nine of ten should be right.

A network's logits are divided by one number, its temperature, found on examples that it has not learned from (Guo et
al. 2017). No answer changes by it, only how sure it sounds. Whoever then refuses answers below some confidence trades
answers for right ones; the table of risk and coverage tells how many for how many.
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
    """What becomes of answers when those below `threshold` are refused."""

    threshold: float
    coverage: float
    """Share of the examples that are still answered."""
    wrong: int
    """How many of these answers are wrong."""
    risk: float
    """Share of these answers that are wrong."""


def negative_log_likelihood(logits: Floats, labels: Labels, temperature: float = 1.0) -> float:
    """Average −log of the probability given to the right class, at a temperature; logits (n, k), labels (n,)."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    right = np.take_along_axis(scaled, labels[:, np.newaxis], axis=1)[:, 0]
    return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - right))


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """Find the temperature from 0.05 to 20 that makes the right classes least surprising, by golden sections."""
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
    """Divide the logits by a temperature for good, within the last layer's own weights.

    Then service, export and everything else need not know of it. Raises ConfigError for outputs but softmax.
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
    """Set coverage against risk: refuse the least sure answers until only these shares of all are left."""
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(probabilities.argmax(axis=1)[order] != labels[order])
    table = []
    for coverage in coverages:
        kept = max(1, round(coverage * len(labels)))
        errors = int(wrong[kept - 1])
        table.append(RiskCoveragePoint(float(confidence[order[kept - 1]]), kept / len(labels), errors, errors / kept))
    return table


def risk_coverage_at(probabilities: Floats, labels: Labels, threshold: float) -> RiskCoveragePoint:
    """Tell what refusing every answer below a threshold does to these examples."""
    kept = probabilities.max(axis=1) >= threshold
    errors = int(np.count_nonzero(probabilities.argmax(axis=1)[kept] != labels[kept]))
    count = int(np.count_nonzero(kept))
    return RiskCoveragePoint(threshold, count / max(len(labels), 1), errors, errors / max(count, 1))


def threshold_for_risk(probabilities: Floats, labels: Labels, risk: float) -> float:
    """Find the least threshold at which at most this share of the answers is wrong; 1 where none is enough."""
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(probabilities.argmax(axis=1)[order] != labels[order])
    fine = np.flatnonzero(wrong <= risk * np.arange(1, len(labels) + 1))
    return float(confidence[order[fine[-1]]]) if len(fine) else 1.0
