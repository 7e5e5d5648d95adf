"""The gradient check finds a wrong gradient of any array, however few entries it has."""

from collections.abc import Callable

import numpy as np
import pytest

from training import MLP, DataError, MLPConfig, Recipe, recipes
from training.evaluation.gradcheck import relative_errors
from training.nn.losses import LOSSES, Loss
from training.recipes.feasibility import check_gradients
from training.types import Floats

LARGE = MLPConfig((40, 16, 16, 10), residual=True, activation="tanh")
NORMED = MLPConfig((30, 12, 12, 5), batch_norm=True, activation="tanh")
LEARNED = [(config, name) for config in (LARGE, NORMED) for name in MLP(config).state_dict()]
LEARNED = [(config, name) for config, name in LEARNED if not name.endswith(("mean", "variance"))]


class Wrong(MLP):
    """Spoils the gradient of one array after backpropagation."""

    spoiled: slice
    spoil: Callable[[Floats], None]

    def loss_and_gradients(self, loss: Loss, *args: object, **options: object) -> tuple[float, Floats]:
        kept = self.gradients[self.spoiled].copy()
        answer = super().loss_and_gradients(loss, *args, **options)  # type: ignore[arg-type]
        gradient = self.gradients[self.spoiled]
        if self.spoil is never_written:
            gradient[:] = kept
        else:
            self.spoil(gradient)
        return answer


def never_written(gradient: Floats) -> None:
    raise AssertionError(gradient)


def doubled(gradient: Floats) -> None:
    gradient *= 2


def zeroed(gradient: Floats) -> None:
    gradient[:] = 0


def errors_of(network: MLP) -> dict[str, float]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(12, network.config.layers[0]))
    return relative_errors(network, LOSSES["cross_entropy"], x, rng.integers(0, 5, 12), sample=8)


@pytest.mark.parametrize("spoil", [doubled, zeroed, never_written], ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize(("config", "name"), LEARNED)
def test_a_wrong_gradient_of_any_array_is_found_and_of_no_other(
    config: MLPConfig, name: str, spoil: Callable[[Floats], None]
) -> None:
    network = Wrong(config, 1, np.float64)
    start = (network.state_dict()[name].ctypes.data - network.parameters.ctypes.data) // 8
    network.spoiled, network.spoil = slice(start, start + network.state_dict()[name].size), spoil
    errors = errors_of(network)
    assert errors.pop(name) > 0.1
    assert max(errors.values()) < 1e-6


@pytest.mark.parametrize("config", [LARGE, NORMED])
def test_each_learned_array_has_an_error_and_all_are_right(config: MLPConfig) -> None:
    errors = errors_of(MLP(config, 1, np.float64))
    assert set(errors) == {name for known, name in LEARNED if known is config}
    assert max(errors.values()) < 1e-6


@pytest.mark.parametrize("recipe", [recipes.get("starter"), recipes.get("sprint"), recipes.get("nielsen")])
def test_recipes_are_checked_array_by_array(recipe: Recipe) -> None:
    errors = check_gradients(recipe.replace(data="starter"))
    assert {"0.weight", "0.bias"} <= set(errors)
    assert max(errors.values()) < 1e-6


def test_a_network_of_single_precision_is_refused() -> None:
    with pytest.raises(DataError, match="in float64, the network is float32"):
        errors_of(MLP(NORMED))
