"""Backpropagation held against the definition of a derivative.

The central difference (L(p+h) − L(p−h)) / 2h is slow and blunt, and knows nothing of the chain rule: where the two
agree, the backward pass is right.
"""

import numpy as np

from training.arrays import Floats, Labels, Targets
from training.examples import prepare
from training.experiment import split
from training.fit_config import FitConfig
from training.losses import Loss
from training.network import MLP
from training.recipe import Recipe


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


def check_recipe(recipe: Recipe, *, examples: int = 20) -> float:
    """Answer the relative error for a recipe's network and loss, on a few real pictures."""
    config = FitConfig(loss=recipe.fit.loss)
    network = MLP(recipe.network, recipe.fit.seed, np.float64)
    learned = split(recipe).train
    rows = np.arange(min(examples, len(learned)))
    x = recipe.network.input.features(learned.images[rows]).astype(np.float64)
    prepared = prepare(network, (x, learned.labels[rows]), config)
    return relative_error(network, prepared.loss, prepared.x, prepared.targets)


def relative_error(network: MLP, loss: Loss, x: Floats, targets: Targets, *, sample: int = 200, seed: int = 0) -> float:
    """Compare on up to `sample` parameters: ‖numerical − backpropagated‖ / (‖numerical‖ + ‖backpropagated‖).

    In float64 about 1e-9 when all is right; above 1e-6 something is wrong (or a ReLU's kink was hit).
    """
    count = len(network.parameters)
    places = np.random.default_rng(seed).choice(count, min(sample, count), replace=False)
    numerical = numerical_gradient(network, loss, x, targets, places, seed=seed)
    network.backpropagate(loss, x, targets, rng=np.random.default_rng(seed))
    exact = network.gradients[places]
    scale = float(np.linalg.norm(numerical) + np.linalg.norm(exact))
    return float(np.linalg.norm(numerical - exact)) / scale if scale else 0.0
