"""Gradient checking: backpropagation compared with central differences, (L(p+h) − L(p−h)) / 2h."""

import math

import numpy as np

from training.errors import DataError
from training.nn.losses import Loss
from training.nn.mlp import MLP
from training.types import Floats, Labels, Targets

_NOISE = 1e-3
"""Relative to the largest gradient; smaller ones cannot be told from rounding errors of the loss."""


def numerical_gradient(
    network: MLP, loss: Loss, x: Floats, targets: Targets, indices: Labels, *, step: float = 1e-5, seed: int = 0
) -> Floats:
    """Return the numerical derivatives of the loss with respect to the parameters at `indices`, in float64.

    Each evaluation uses a generator with the same seed, so dropout uses the same mask every time.
    """
    slopes = np.empty(len(indices))
    for number, index in enumerate(indices):
        original = network.parameters[index]
        values = []
        for shifted in (original + step, original - step):
            network.parameters[index] = shifted
            values.append(network.loss_and_gradients(loss, x, targets, rng=np.random.default_rng(seed))[0])
        network.parameters[index] = original
        slopes[number] = (values[0] - values[1]) / (2 * step)
    return slopes


def relative_error(network: MLP, loss: Loss, x: Floats, targets: Targets, *, sample: int = 20, seed: int = 0) -> float:
    """Return the error of the worst array; see `relative_errors`."""
    return max(relative_errors(network, loss, x, targets, sample=sample, seed=seed).values())


def relative_errors(
    network: MLP, loss: Loss, x: Floats, targets: Targets, *, sample: int = 20, seed: int = 0
) -> dict[str, float]:
    """Compare `sample` entries of each array: ‖numerical − backpropagated‖ / (‖numerical‖ + ‖backpropagated‖).

    Correct gradients have errors of about 1e-9 in float64; above 1e-6 something is wrong, or a kink of ReLU was hit.
    The error is infinite for an array whose gradient is not written. For arrays whose gradients are less than a
    thousandth of the largest, the error is relative to that thousandth. Raises DataError for float32 networks.
    """
    if network.parameters.dtype != np.float64:
        raise DataError(f"gradients are checked in float64, the network is {network.parameters.dtype}")
    rng = np.random.default_rng(seed)
    indices = {
        name: rng.choice(all_of_it, min(sample, len(all_of_it)), replace=False)
        for name, all_of_it in _parameter_indices(network).items()
    }
    numerical = {name: numerical_gradient(network, loss, x, targets, at, seed=seed) for name, at in indices.items()}
    network.gradients.fill(np.nan)  # so that gradients that are not written can be detected
    network.loss_and_gradients(loss, x, targets, rng=np.random.default_rng(seed))
    exact = {name: network.gradients[at] for name, at in indices.items()}
    norms = {name: float(np.linalg.norm(numerical[name]) + np.linalg.norm(exact[name])) for name in indices}
    smallest = _NOISE * max((norm for norm in norms.values() if math.isfinite(norm)), default=0.0)
    return {
        name: _error(float(np.linalg.norm(numerical[name] - exact[name])), max(norms[name], smallest))
        for name in indices
    }


def _error(difference: float, scale: float) -> float:
    if not math.isfinite(difference):
        return math.inf
    return difference / scale if scale else 0.0


def _parameter_indices(network: MLP) -> dict[str, Labels]:
    """Return the indices of each parameter array in the flat vector."""
    start = network.parameters.ctypes.data
    return {
        name: (array.ctypes.data - start) // array.itemsize + np.arange(array.size)
        for name, array in network.state_dict().items()
        if np.shares_memory(array, network.parameters)  # running statistics do not
    }
