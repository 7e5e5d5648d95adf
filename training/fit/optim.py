"""Optimizers as update rules, which can be chained as in optax. Sorted from simple to complex.

`rule.update(gradients, parameters, learning_rate)` turns the gradients into an update, in place; `apply_update` then
subtracts it from the parameters. All arrays are the network's flat vectors of shape (p,). Whatever a rule keeps from
step to step is in `state`, arrays by name, which checkpoints save.

    rule = chain(ClipByGlobalNorm(1.0), WeightDecay(0.01, network.n_weights), Adam(network.parameters))
    apply_update(rule, network.parameters, network.gradients, learning_rate=0.001)
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from training.types import Floats


class UpdateRule(Protocol):
    """A step of the way from gradients to the update of the parameters."""

    state: dict[str, Floats]

    def update(self, gradients: Floats, parameters: Floats, learning_rate: float) -> None:
        """Turn the gradients into the update, in place."""


def apply_update(rule: UpdateRule, parameters: Floats, gradients: Floats, learning_rate: float) -> None:
    """Make one step; afterwards `gradients` holds the update that was subtracted."""
    rule.update(gradients, parameters, learning_rate)
    parameters -= gradients


def chain(*rules: UpdateRule) -> UpdateRule:
    """Apply rules one after the other. Rules with state must use different names for it."""
    return _Chain(rules)


class _Chain:
    def __init__(self, rules: tuple[UpdateRule, ...]) -> None:
        self._rules = rules
        self.state = {name: array for rule in rules for name, array in rule.state.items()}

    def update(self, gradients: Floats, parameters: Floats, learning_rate: float) -> None:
        for rule in self._rules:
            rule.update(gradients, parameters, learning_rate)


class L2Penalty:
    """Add the gradient of ½·l2·‖w‖² of the first `n_decayed` parameters: g ← g + l2·w.

    Chained before an optimizer, the penalty passes through its adaptive scaling; see WeightDecay for the alternative.
    """

    def __init__(self, l2: float, n_decayed: int) -> None:
        """Set the factor, and the number of parameters, weights first."""
        self.l2, self.n_decayed, self.state = l2, n_decayed, dict[str, Floats]()

    def update(self, gradients: Floats, parameters: Floats, learning_rate: float) -> None:  # noqa: ARG002 -- signature shared by all rules
        """See UpdateRule."""
        gradients[: self.n_decayed] += self.l2 * parameters[: self.n_decayed]


class WeightDecay:
    """Shrink the first `n_decayed` parameters directly: w ← w·(1 − rate·decay) (Loshchilov and Hutter 2019).

    Unlike L2Penalty it bypasses adaptive scaling, so with Adam it gives AdamW. For plain SGD the two are the same.
    """

    def __init__(self, decay: float, n_decayed: int) -> None:
        """Set the factor, and the number of parameters, weights first."""
        self.decay, self.n_decayed, self.state = decay, n_decayed, dict[str, Floats]()

    def update(self, gradients: Floats, parameters: Floats, learning_rate: float) -> None:  # noqa: ARG002 -- signature shared by all rules
        """See UpdateRule."""
        parameters[: self.n_decayed] *= 1 - learning_rate * self.decay


class ClipByGlobalNorm:
    """Scale the gradients down to a norm of at most `max_norm` (Pascanu et al. 2013); chain it before an optimizer."""

    def __init__(self, max_norm: float) -> None:
        """Set the largest norm."""
        self.max_norm, self.state = max_norm, dict[str, Floats]()

    def update(self, gradients: Floats, parameters: Floats, learning_rate: float) -> None:  # noqa: ARG002 -- signature shared by all rules
        """See UpdateRule."""
        norm = float(np.linalg.norm(gradients))
        if norm > self.max_norm:
            gradients *= self.max_norm / norm


class SGD:
    """Stochastic gradient descent with optional momentum and Nesterov momentum.

    v ← μ·v + g; p ← p − rate·v, or p − rate·(g + μ·v) with `nesterov`: Sutskever et al. 2013 as in PyTorch, where the
    rate multiplies the velocity rather than the gradient that enters it.
    """

    def __init__(self, parameters: Floats, *, momentum: float = 0.0, nesterov: bool = False) -> None:
        """Start with zero velocity."""
        self.momentum, self.nesterov = momentum, nesterov
        self.state: dict[str, Floats] = {"velocity": np.zeros_like(parameters)} if momentum else {}

    def update(self, gradients: Floats, parameters: Floats, learning_rate: float) -> None:  # noqa: ARG002 -- signature shared by all rules
        """See UpdateRule."""
        if self.momentum:
            velocity = self.state["velocity"]
            velocity *= self.momentum
            velocity += gradients
            if self.nesterov:
                gradients += self.momentum * velocity
            else:
                gradients[:] = velocity
        gradients *= learning_rate


class AdaGrad:
    """Divide each gradient by the root of the sum of its past squares (Duchi et al. 2011).

    s ← s + g²; p ← p − rate·g / (√s + ε).
    """

    def __init__(self, parameters: Floats, *, epsilon: float = 1e-7) -> None:
        """Start with empty sums."""
        self.epsilon = epsilon
        self.state: dict[str, Floats] = {"squares": np.zeros_like(parameters)}

    def update(self, gradients: Floats, parameters: Floats, learning_rate: float) -> None:  # noqa: ARG002 -- signature shared by all rules
        """See UpdateRule."""
        squares = self.state["squares"]
        squares += gradients * gradients
        gradients *= learning_rate
        gradients /= np.sqrt(squares) + self.epsilon


class RMSprop:
    """Divide each gradient by the root of a running mean of its squares (Tieleman and Hinton 2012, lecture 6e).

    s ← ρ·s + (1−ρ)·g²; p ← p − rate·g / (√s + ε). The option for ρ is called `decay`.
    """

    def __init__(self, parameters: Floats, *, decay: float = 0.9, epsilon: float = 1e-7) -> None:
        """Start with empty means."""
        self.rho, self.epsilon = decay, epsilon
        self.state: dict[str, Floats] = {"squares": np.zeros_like(parameters)}

    def update(self, gradients: Floats, parameters: Floats, learning_rate: float) -> None:  # noqa: ARG002 -- signature shared by all rules
        """See UpdateRule."""
        squares = self.state["squares"]
        squares *= self.rho
        squares += (1 - self.rho) * gradients * gradients
        gradients *= learning_rate
        gradients /= np.sqrt(squares) + self.epsilon


class Adam:
    """Momentum and RMSprop combined, both with bias correction (Kingma and Ba 2015, algorithm 1).

    m ← β₁·m + (1−β₁)·g; v ← β₂·v + (1−β₂)·g²; p ← p − rate · m/(1−β₁ᵗ) / (√(v/(1−β₂ᵗ)) + ε).

    The sums are kept without their factors (1−β), which go into two numbers per step instead: the same update in ten
    passes over memory and without temporary arrays.
    """

    def __init__(self, parameters: Floats, *, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> None:
        """Start with empty means."""
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.state: dict[str, Floats] = {
            "first": np.zeros_like(parameters),
            "second": np.zeros_like(parameters),
            "steps": np.zeros(1, dtype=parameters.dtype),
        }

    def update(self, gradients: Floats, parameters: Floats, learning_rate: float) -> None:  # noqa: ARG002 -- signature shared by all rules
        """See UpdateRule."""
        first, second, steps = self.state["first"], self.state["second"], self.state["steps"]
        steps += 1
        root = ((1 - self.beta2) / (1 - self.beta2 ** float(steps[0]))) ** 0.5
        scale = learning_rate * (1 - self.beta1) / (1 - self.beta1 ** float(steps[0])) / root
        first *= self.beta1
        first += gradients
        second *= self.beta2
        gradients *= gradients
        second += gradients
        np.sqrt(second, out=gradients)
        gradients += self.epsilon / root
        np.divide(first, gradients, out=gradients)
        gradients *= scale


OPTIMIZERS: dict[str, Callable[..., UpdateRule]] = {"sgd": SGD, "adagrad": AdaGrad, "rmsprop": RMSprop, "adam": Adam}
