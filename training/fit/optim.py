"""Optimizers turn a gradient into a step. They work in place on the network's one flat vector of parameters.

`step(parameters, gradients, rate)` may overwrite the gradients. What an optimizer remembers from step to step is in
`state`, arrays by name, so that a checkpoint can keep it. Sorted by growing difficulty.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from training.types import Floats


class Optimizer(Protocol):
    """What the training loop asks of an optimizer."""

    state: dict[str, Floats]

    def step(self, parameters: Floats, gradients: Floats, rate: float) -> None:
        """Move the parameters against the gradients; both of shape (p,), the gradients are scratch afterwards."""


class SGD:
    """Stochastic gradient descent, with momentum and Nesterov's look ahead when asked.

    v ← μ·v + g; p ← p − rate·v, or p − rate·(g + μ·v) with `nesterov`: the form of Sutskever et al. 2013 as PyTorch
    writes it, in which the rate multiplies the velocity and not what enters it.
    """

    def __init__(self, parameters: Floats, *, momentum: float = 0.0, nesterov: bool = False) -> None:
        """Start at rest."""
        self.momentum, self.nesterov = momentum, nesterov
        self.state: dict[str, Floats] = {"velocity": np.zeros_like(parameters)} if momentum else {}

    def step(self, parameters: Floats, gradients: Floats, rate: float) -> None:
        """See Optimizer."""
        if self.momentum:
            velocity = self.state["velocity"]
            velocity *= self.momentum
            velocity += gradients
            if self.nesterov:
                gradients += self.momentum * velocity
            else:
                gradients[:] = velocity
        gradients *= rate
        parameters -= gradients


class AdaGrad:
    """Divide each gradient by the root of the sum of its squares so far (Duchi et al. 2011).

    s ← s + g²; p ← p − rate·g / (√s + ε).
    """

    def __init__(self, parameters: Floats, *, epsilon: float = 1e-7) -> None:
        """Start with no history."""
        self.epsilon = epsilon
        self.state: dict[str, Floats] = {"squares": np.zeros_like(parameters)}

    def step(self, parameters: Floats, gradients: Floats, rate: float) -> None:
        """See Optimizer."""
        squares = self.state["squares"]
        squares += gradients * gradients
        parameters -= rate * gradients / (np.sqrt(squares) + self.epsilon)


class RMSprop:
    """Divide each gradient by the root of a running mean of its squares (Tieleman and Hinton 2012, lecture 6e).

    s ← ρ·s + (1−ρ)·g²; p ← p − rate·g / (√s + ε).
    """

    def __init__(self, parameters: Floats, *, decay: float = 0.9, epsilon: float = 1e-7) -> None:
        """Start with no history."""
        self.decay, self.epsilon = decay, epsilon
        self.state: dict[str, Floats] = {"squares": np.zeros_like(parameters)}

    def step(self, parameters: Floats, gradients: Floats, rate: float) -> None:
        """See Optimizer."""
        squares = self.state["squares"]
        squares *= self.decay
        squares += (1 - self.decay) * gradients * gradients
        parameters -= rate * gradients / (np.sqrt(squares) + self.epsilon)


class Adam:
    """Momentum over RMSprop, both corrected for their cold start (Kingma and Ba 2015, algorithm 1).

    m ← β₁·m + (1−β₁)·g; v ← β₂·v + (1−β₂)·g²; p ← p − rate · m/(1−β₁ᵗ) / (√(v/(1−β₂ᵗ)) + ε).
    With decoupled weight decay (see `descend`) it is AdamW.

    The sums are kept without their factors (1−β), which go into the two numbers of each step instead: the same
    update in ten passes over the memory, none of which needs a new array.
    """

    def __init__(self, parameters: Floats, *, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> None:
        """Start with no history."""
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.state: dict[str, Floats] = {
            "first": np.zeros_like(parameters),
            "second": np.zeros_like(parameters),
            "steps": np.zeros(1, dtype=parameters.dtype),
        }

    def step(self, parameters: Floats, gradients: Floats, rate: float) -> None:
        """See Optimizer."""
        first, second, steps = self.state["first"], self.state["second"], self.state["steps"]
        steps += 1
        root = ((1 - self.beta2) / (1 - self.beta2 ** float(steps[0]))) ** 0.5
        scale = rate * (1 - self.beta1) / (1 - self.beta1 ** float(steps[0])) / root
        first *= self.beta1
        first += gradients
        second *= self.beta2
        gradients *= gradients
        second += gradients
        np.sqrt(second, out=gradients)
        gradients += self.epsilon / root
        np.divide(first, gradients, out=gradients)
        gradients *= scale
        parameters -= gradients


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": SGD, "adagrad": AdaGrad, "rmsprop": RMSprop, "adam": Adam}


def descend(
    optimizer: Optimizer,
    parameters: Floats,
    gradients: Floats,
    rate: float,
    *,
    decayed: int,
    l2: float = 0.0,
    weight_decay: float = 0.0,
) -> None:
    """Make one step. The order tells L2 and weight decay apart, which only for plain SGD are the same thing.

    L2 (the gradient of ½·l2·‖w‖²) goes in before the optimizer and is bent by it; weight decay shrinks the weights
    beside it, by rate·weight_decay (Loshchilov and Hutter 2019). Both touch the first `decayed` parameters only:
    the weights, not the biases.
    """
    if l2:
        gradients[:decayed] += l2 * parameters[:decayed]
    if weight_decay:
        parameters[:decayed] *= 1 - rate * weight_decay
    optimizer.step(parameters, gradients, rate)
