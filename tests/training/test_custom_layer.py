"""A layer of one's own is one class and one table entry: everything else takes it as it takes all others."""

import copy
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import MLP, ConfigError, FitConfig, MLPConfig, TrainingError, TrainingState, load, recipes, save, train
from training.evaluation.gradcheck import relative_error
from training.evaluation.saliency import gradient_times_input, input_gradient
from training.export.checkpoint import load_checkpoint, save_checkpoint
from training.nn.config import parameter_count
from training.nn.layers import LAYERS
from training.nn.losses import LOSSES

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_layer.py"
STEM = (("conv2d", 4, 5), ("activation", "tanh"), ("max_pool2d", 2), ("conv2d", 3, 3))


@pytest.fixture(autouse=True)
def layers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    names = runpy.run_path(str(EXAMPLE))
    monkeypatch.setitem(LAYERS, "conv2d", names["Conv2D"])
    monkeypatch.setitem(LAYERS, "max_pool2d", names["MaxPool2D"])
    return names


def test_its_shapes_are_summed_by_the_network() -> None:
    config = MLPConfig((784, 16, 10), stem=STEM)
    assert parameter_count(config) == (25 * 4 + 4) + (9 * 4 * 3 + 3) + (10 * 10 * 3 * 16 + 16) + (16 * 10 + 10)
    network = MLP(config)
    assert len(network.parameters) == parameter_count(config)
    assert network.n_weights == 25 * 4 + 9 * 4 * 3 + 300 * 16 + 160
    assert list(network.state_dict())[:4] == ["0.weight", "0.bias", "3.weight", "3.bias"]


def test_its_gradients_are_the_numerical_ones(rng: np.random.Generator) -> None:
    stem = (("conv2d", 3, 3), ("max_pool2d", 2), ("conv2d", 2, 2), ("activation", "tanh"))
    config = MLPConfig((64, 5, 3), activation="tanh", input={"side": 8}, stem=stem)  # type: ignore[arg-type]
    network = MLP(config, 1, np.float64)
    error = relative_error(network, LOSSES["cross_entropy"], rng.normal(size=(4, 64)), rng.integers(0, 3, 4))
    assert error <= 1e-6


def test_it_is_saved_loaded_copied_and_resumed(rng: np.random.Generator, tmp_path: Path) -> None:
    x, y = rng.random((60, 784), np.float32), rng.integers(0, 10, 60)
    config = FitConfig(epochs=3, batch_size=16)
    whole, first = (TrainingState.start(MLP(MLPConfig((784, 8, 10), stem=STEM)), config) for _ in range(2))
    list(train(whole, (x, y), config))
    next(train(first, (x, y), config))
    save_checkpoint(tmp_path / "checkpoint.npz", first, config)
    resumed = load_checkpoint(tmp_path / "checkpoint.npz", MLP(MLPConfig((784, 8, 10), stem=STEM)), config)
    list(train(resumed, (x, y), config))
    assert resumed.network.parameters.tobytes() == whole.network.parameters.tobytes()
    save(whole.network, tmp_path / "weights.npz")
    for other in (load(tmp_path / "weights.npz"), copy.deepcopy(whole.network)):
        assert other.predict(x).tobytes() == whole.network.predict(x).tobytes()


def test_its_input_gradient_is_there_for_attributions_only(rng: np.random.Generator) -> None:
    network = MLP(MLPConfig((784, 8, 10), stem=STEM), 0, np.float64)
    x = rng.random((2, 784))
    gradient, classes = input_gradient(network, x, np.array([3, 4])), np.array([3, 4])
    moved = x.copy()
    moved[:, 400] += 1e-6
    slope = (network.forward(moved)[0] - network.forward(x)[0])[[0, 1], classes] / 1e-6
    np.testing.assert_allclose(gradient[:, 400], slope, atol=1e-6)
    assert gradient_times_input(network, np.zeros((1, 28, 28), np.uint8), np.array([0])).shape == (1, 28, 28)


def test_a_recipe_takes_it_as_a_setting() -> None:
    recipe = recipes.get("starter").replace(stem=[["conv2d", 4, 5]])
    assert recipe.network.stem == (("conv2d", 4, 5),)
    assert recipes.get("starter").replace(**recipe.to_flat_dict()) == recipe.replace()


def test_a_layer_without_an_onnx_form_is_named() -> None:
    pytest.importorskip("onnx")
    from training.export.onnx import to_onnx

    with pytest.raises(TrainingError, match="Conv2D"):
        to_onnx(MLP(MLPConfig((784, 8, 10), stem=STEM)))


@pytest.mark.parametrize(
    "stem", ["conv2d", [["conv3d", 1]], [[]], [["conv2d"]], [["conv2d", 4, 29]], [["conv2d", 4, [5]]], [["dropout", 2]]]
)
def test_what_cannot_be_built_is_refused(stem: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        MLPConfig(stem=stem)
    assert caught.value.field == "stem"


@pytest.mark.slow
def test_the_example_trains(layers: dict[str, Any]) -> None:
    assert layers["main"]() > 0.9
