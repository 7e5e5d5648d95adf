"""Initializers: functions `(rng, fan_in, fan_out) → weight` of shape (fan_in, fan_out), in float64.

Biases are initialised to zero, except by the initializers in BIAS_INITIALIZERS.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.types import Floats

Initializer = Callable[["np.random.Generator", int, int], Floats]


def zeros(rng: np.random.Generator, fan_in: int, fan_out: int) -> Floats:  # noqa: ARG001 -- signature shared by all entries
    """All zeros; only for networks of one layer, since equal hidden units stay equal."""
    return np.zeros((fan_in, fan_out))


def normal(std: float) -> Initializer:
    """Normal distribution with a fixed standard deviation."""
    return lambda rng, fan_in, fan_out: rng.normal(0.0, std, (fan_in, fan_out))


def normal_fan_out(rng: np.random.Generator, fan_in: int, fan_out: int) -> Floats:
    """Normal distribution with standard deviation sqrt(1 / fan_out), as in some tutorials."""
    return rng.normal(0.0, np.sqrt(1 / fan_out), (fan_in, fan_out))


def lecun(rng: np.random.Generator, fan_in: int, fan_out: int) -> Floats:
    """Normal distribution with standard deviation sqrt(1 / fan_in) (LeCun et al. 1998)."""
    return rng.normal(0.0, np.sqrt(1 / fan_in), (fan_in, fan_out))


def glorot(rng: np.random.Generator, fan_in: int, fan_out: int) -> Floats:
    """Uniform distribution on ±sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010; Keras's default)."""
    limit = np.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, (fan_in, fan_out))


def he(rng: np.random.Generator, fan_in: int, fan_out: int) -> Floats:
    """Normal distribution with standard deviation sqrt(2 / fan_in), for ReLU (He et al. 2015)."""
    return rng.normal(0.0, np.sqrt(2 / fan_in), (fan_in, fan_out))


INITIALIZERS: dict[str, Initializer] = {
    "zeros": zeros,
    "standard_normal": normal(1.0),
    "normal_0.1": normal(0.1),
    "normal_0.01": normal(0.01),
    "normal_by_outputs": normal_fan_out,
    "lecun": lecun,
    "glorot": glorot,
    "he": he,
}

BIAS_INITIALIZERS: dict[str, Initializer] = {"standard_normal": normal(1.0)}
