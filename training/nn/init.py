"""How the weights start: a function `(rng, fan_in, fan_out) → weight` of shape (fan_in, fan_out), in float64.

Biases start at zero, unless the table of `BIASES` names something else for an initializer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.types import Floats

Initializer = Callable[["np.random.Generator", int, int], Floats]


def zeros(rng: np.random.Generator, fan_in: int, fan_out: int) -> Floats:  # noqa: ARG001 -- one type for the room
    """All zero; only for a single layer, since equal units never part."""
    return np.zeros((fan_in, fan_out))


def normal(deviation: float) -> Initializer:
    """Draw from a normal distribution of the given standard deviation, whatever the layer's size."""
    return lambda rng, fan_in, fan_out: rng.normal(0.0, deviation, (fan_in, fan_out))


def normal_by_outputs(rng: np.random.Generator, fan_in: int, fan_out: int) -> Floats:
    """Draw from a normal distribution of standard deviation sqrt(1 / fan_out), as some tutorials do."""
    return rng.normal(0.0, np.sqrt(1 / fan_out), (fan_in, fan_out))


def lecun(rng: np.random.Generator, fan_in: int, fan_out: int) -> Floats:
    """Draw from a normal distribution of standard deviation sqrt(1 / fan_in) (LeCun et al. 1998)."""
    return rng.normal(0.0, np.sqrt(1 / fan_in), (fan_in, fan_out))


def glorot(rng: np.random.Generator, fan_in: int, fan_out: int) -> Floats:
    """Draw uniformly from ±sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010; the default of Keras)."""
    limit = np.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, (fan_in, fan_out))


def he(rng: np.random.Generator, fan_in: int, fan_out: int) -> Floats:
    """Draw from a normal distribution of standard deviation sqrt(2 / fan_in), made for ReLU (He et al. 2015)."""
    return rng.normal(0.0, np.sqrt(2 / fan_in), (fan_in, fan_out))


INITIALIZERS: dict[str, Initializer] = {
    "zeros": zeros,
    "standard_normal": normal(1.0),
    "normal_0.1": normal(0.1),
    "normal_0.01": normal(0.01),
    "normal_by_outputs": normal_by_outputs,
    "lecun": lecun,
    "glorot": glorot,
    "he": he,
}

BIASES: dict[str, Initializer] = {"standard_normal": normal(1.0)}
