"""Distillation: learn from what better networks make of a picture, beside what it is (Hinton, Vinyals and Dean 2015).

That a seven looks a little like a one is not in its label. A teacher's answer tells it, for each deformed picture anew;
a small network that is shown whole answers comes closer to a large one than by labels alone.
"""

from collections.abc import Callable, Sequence

import numpy as np

from training.nn.activations import softmax
from training.nn.losses import Loss, cross_entropy
from training.nn.mlp import MLP
from training.types import Floats, Targets

Teach = Callable[[Loss, Floats], Loss]
"""(a loss, a batch of inputs (n, features)) → that loss, and that the answers be those of the teachers to these."""


def teaching(teachers: Sequence[MLP], share: float, temperature: float) -> Teach:
    """Let networks teach another that sees the same inputs; of several the mean answer is wanted."""

    def teach(loss: Loss, x: Floats) -> Loss:
        answers = [softmax(teacher.forward(x)[0] / temperature)[0] for teacher in teachers]
        return distilled(loss, np.mean(answers, axis=0), share, temperature)

    return teach


def distilled(loss: Loss, answers: Floats, share: float, temperature: float) -> Loss:
    """Mix a loss that sees logits z with the cross-entropy H to answers q (n, k), probabilities at the temperature T.

    (1 − share)·L(z, y) + share·T²·H(q, softmax(z/T)). The gradient of H by z shrinks as 1/T², which T² makes good
    (section 2 of the paper), so that the share means the same at every temperature.
    """

    def function(logits: Floats, targets: Targets, weights: Floats | None) -> tuple[float, Floats]:
        value, gradient = loss.function(logits, targets, weights)
        from_answers, by_answers = cross_entropy(logits / temperature, answers, weights)
        gradient *= 1 - share
        gradient += share * temperature * by_answers
        return (1 - share) * value + share * temperature**2 * from_answers, gradient

    return loss._replace(function=function)
