"""Backpropagation held against the definition of a derivative.

The central difference (L(p+h) − L(p−h)) / 2h is slow and blunt, and knows nothing of the chain rule: where the two
agree, the backward pass is right.
"""

import math

import numpy as np

from training.errors import DataError
from training.fit.batches import prepare
from training.fit.config import FitConfig
from training.nn.losses import Loss
from training.nn.mlp import MLP
from training.recipes.config import Recipe
from training.recipes.experiment import split
from training.types import Floats, Labels, Targets

_NOISE = 1e-3
"""Of the largest gradient; smaller ones are not told from the rounding of the loss."""


def numerical_gradient(
    network: MLP, loss: Loss, x: Floats, targets: Targets, places: Labels, *, step: float = 1e-5, seed: int = 0
) -> Floats:
    """Measure the slope of the loss along the parameters at `places`; the network must be float64.

    Each evaluation gets a generator of the same seed, so that dropout silences the same units every time.
    """
    slopes = np.empty(len(places))
    for number, place in enumerate(places):
        kept = network.parameters[place]
        sides = []
        for shifted in (kept + step, kept - step):
            network.parameters[place] = shifted
            sides.append(network.backpropagate(loss, x, targets, rng=np.random.default_rng(seed))[0])
        network.parameters[place] = kept
        slopes[number] = (sides[0] - sides[1]) / (2 * step)
    return slopes


def check_recipe(recipe: Recipe, *, examples: int = 20) -> dict[str, float]:
    """Return the relative error of each array for a recipe's network and loss, on a few real pictures."""
    config = FitConfig(loss=recipe.fit.loss)
    network = MLP(recipe.network, recipe.fit.seed, np.float64)
    learned = split(recipe).train
    rows = np.arange(min(examples, len(learned)))
    x = recipe.network.input.features(learned.images[rows]).astype(np.float64)
    prepared = prepare(network, (x, learned.labels[rows]), config)
    return relative_errors(network, prepared.loss, prepared.x, prepared.targets)


def relative_error(network: MLP, loss: Loss, x: Floats, targets: Targets, *, sample: int = 20, seed: int = 0) -> float:
    """Return the error of the worst array; see `relative_errors`."""
    return max(relative_errors(network, loss, x, targets, sample=sample, seed=seed).values())


def relative_errors(
    network: MLP, loss: Loss, x: Floats, targets: Targets, *, sample: int = 20, seed: int = 0
) -> dict[str, float]:
    """Compare `sample` entries of each array: ‖numerical − backpropagated‖ / (‖numerical‖ + ‖backpropagated‖).

    The network must be float64. In float64 an error is about 1e-9 when all is right; above 1e-6 something is wrong (or
    a ReLU's kink was hit). It is infinite for an array whose gradient is not written. Where an array's gradient is
    less than a thousandth of the largest, the error is relative to that thousandth, since smaller ones are noise.
    Raises DataError for another type of network.
    """
    if network.parameters.dtype != np.float64:
        raise DataError(f"gradients are checked in float64, the network is {network.parameters.dtype}")
    rng = np.random.default_rng(seed)
    places = {
        name: rng.choice(all_of_it, min(sample, len(all_of_it)), replace=False)
        for name, all_of_it in _places(network).items()
    }
    numerical = {name: numerical_gradient(network, loss, x, targets, at, seed=seed) for name, at in places.items()}
    network.gradients.fill(np.nan)  # what backpropagation does not write stays so
    network.backpropagate(loss, x, targets, rng=np.random.default_rng(seed))
    exact = {name: network.gradients[at] for name, at in places.items()}
    norms = {name: float(np.linalg.norm(numerical[name]) + np.linalg.norm(exact[name])) for name in places}
    least = _NOISE * max((norm for norm in norms.values() if math.isfinite(norm)), default=0.0)
    return {
        name: _error(float(np.linalg.norm(numerical[name] - exact[name])), max(norms[name], least)) for name in places
    }


def _error(difference: float, scale: float) -> float:
    if not math.isfinite(difference):
        return math.inf
    return difference / scale if scale else 0.0


def _places(network: MLP) -> dict[str, Labels]:
    """Tell where in the flat vector the entries of each learned array are."""
    start = network.parameters.ctypes.data
    return {
        name: (array.ctypes.data - start) // array.itemsize + np.arange(array.size)
        for name, array in network.arrays().items()
        if np.shares_memory(array, network.parameters)  # running statistics do not
    }
