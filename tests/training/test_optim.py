"""Each optimizer is held against its paper's formulas, written out once more and naively, in float64."""

from collections.abc import Callable

import numpy as np
import pytest

from training.fit.optim import OPTIMIZERS, ClipByGlobalNorm, L2Penalty, WeightDecay, apply_update, chain
from training.types import Floats

RATE = 0.1

Formula = Callable[[Floats, Floats, dict[str, Floats], int], Floats]
"""(parameters, gradients, memory, step from 1) → parameters."""


def sgd(momentum: float, nesterov: bool) -> Formula:
    def formula(p: Floats, g: Floats, memory: dict[str, Floats], t: int) -> Floats:  # noqa: ARG001 -- one type
        memory["v"] = momentum * memory.get("v", 0 * g) + g
        return p - RATE * (g + momentum * memory["v"] if nesterov else memory["v"])

    return formula


def adagrad(p: Floats, g: Floats, memory: dict[str, Floats], t: int) -> Floats:  # noqa: ARG001 -- one type
    memory["s"] = memory.get("s", 0 * g) + g**2
    return p - RATE * g / (np.sqrt(memory["s"]) + 1e-7)


def rmsprop(p: Floats, g: Floats, memory: dict[str, Floats], t: int) -> Floats:  # noqa: ARG001 -- one type
    memory["s"] = 0.9 * memory.get("s", 0 * g) + 0.1 * g**2
    return p - RATE * g / (np.sqrt(memory["s"]) + 1e-7)


def adam(p: Floats, g: Floats, memory: dict[str, Floats], t: int) -> Floats:
    memory["m"] = 0.9 * memory.get("m", 0 * g) + 0.1 * g
    memory["v"] = 0.999 * memory.get("v", 0 * g) + 0.001 * g**2
    stepped: Floats = p - RATE * (memory["m"] / (1 - 0.9**t)) / (np.sqrt(memory["v"] / (1 - 0.999**t)) + 1e-8)
    return stepped


CASES: dict[str, tuple[str, dict[str, float | bool], Formula]] = {
    "sgd": ("sgd", {}, sgd(0.0, nesterov=False)),
    "momentum": ("sgd", {"momentum": 0.9}, sgd(0.9, nesterov=False)),
    "nesterov": ("sgd", {"momentum": 0.9, "nesterov": True}, sgd(0.9, nesterov=True)),
    "adagrad": ("adagrad", {}, adagrad),
    "rmsprop": ("rmsprop", {}, rmsprop),
    "adam": ("adam", {}, adam),
}


def test_every_optimizer_is_held_against_its_formula() -> None:
    assert {name for name, _, _ in CASES.values()} == set(OPTIMIZERS)


@pytest.mark.parametrize("case", CASES)
def test_twenty_steps_are_those_of_the_paper(case: str, rng: np.random.Generator) -> None:
    name, options, formula = CASES[case]
    parameters: Floats = rng.normal(size=7)
    expected: Floats = parameters.copy()
    memory: dict[str, Floats] = {}
    optimizer = OPTIMIZERS[name](parameters, **options)
    for t in range(1, 21):
        gradients = rng.normal(size=7)
        expected = formula(expected, gradients, memory, t)
        apply_update(optimizer, parameters, gradients.copy(), RATE)
        np.testing.assert_allclose(parameters, expected, rtol=1e-9)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_bowl_is_descended_and_float32_stays_float32(name: str) -> None:
    parameters = np.array([3.0, -2.0], np.float32)
    optimizer = OPTIMIZERS[name](parameters)
    for _ in range(500):
        apply_update(optimizer, parameters, 2 * parameters, 0.05 if name != "adagrad" else 0.5)
    assert np.abs(parameters).max() < 0.1
    assert all(array.dtype == np.float32 for array in optimizer.state.values())


def test_weight_decay_shrinks_weights_beside_the_gradient_and_l2_goes_through_it() -> None:
    weights = np.array([1.0, 1.0])
    apply_update(chain(WeightDecay(0.5, 1), OPTIMIZERS["sgd"](weights)), weights, np.zeros(2), 0.1)
    assert weights.tolist() == [0.95, 1.0]
    weights = np.array([1.0, 1.0])
    apply_update(chain(L2Penalty(0.5, 1), OPTIMIZERS["adam"](weights)), weights, np.zeros(2), 0.1)
    np.testing.assert_allclose(weights, [0.9, 1.0])  # Adam's first step is the rate, whatever the gradient's size


def test_gradients_are_clipped_by_their_norm_before_the_optimizer_sees_them() -> None:
    weights = np.zeros(2)
    rule = chain(ClipByGlobalNorm(1.0), OPTIMIZERS["sgd"](weights))
    apply_update(rule, weights, np.array([3.0, 4.0]), 1.0)
    np.testing.assert_allclose(weights, [-0.6, -0.8])
    apply_update(rule, weights, np.array([0.3, 0.4]), 1.0)
    np.testing.assert_allclose(weights, [-0.9, -1.2])


def test_a_chain_shares_the_state_of_its_rules() -> None:
    weights = np.zeros(3)
    adam = OPTIMIZERS["adam"](weights)
    assert chain(L2Penalty(0.1, 2), adam).state["first"] is adam.state["first"]
