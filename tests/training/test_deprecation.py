"""Former names keep working for one release, with a warning that names the new one."""

from typing import Any

import numpy as np
import pytest

import training
from training import MLP, MLPConfig, data, evaluate, recipes
from training.vision.input_spec import InputSpec

DIGITS = data.load_dataset("starter").train.select(np.arange(20))


@pytest.mark.parametrize(
    ("owner", "old", "new"),
    [
        (training, "Run", "TrainingState"),
        (data, "open_source", "load_dataset"), (data, "write_images", "save_image_folder"),
        (data, "Source", "TrainTest"),
        (MLP(MLPConfig()), "weight_count", "n_weights"), (MLP(MLPConfig()), "outputs", "forward_with_output"),
        (MLP(MLPConfig()), "backpropagate", "loss_and_gradients"),
        (InputSpec(), "features", "to_features"), (InputSpec(), "width", "grid_size"),
        (DIGITS, "take", "select"), (DIGITS, "only", "filter_classes"), (DIGITS, "joined", "concat"),
        (recipes.get("starter"), "settings", "to_flat_dict"), (recipes.get("starter"), "lines", "log_format"),
        (MLPConfig(), "described", "to_dict"),
    ],
)  # fmt: skip
def test_a_former_name_warns_and_works(owner: Any, old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=new):
        found = getattr(owner, old)
    assert found == getattr(owner, new)


def test_arrays_of_networks_and_results_of_evaluations_have_their_former_names() -> None:
    network = MLP(MLPConfig())
    evaluation = evaluate(network, DIGITS)
    with pytest.warns(DeprecationWarning, match="state_dict"):
        assert network.arrays()["0.weight"] is network.layers[0].weight  # type: ignore[attr-defined]
    with pytest.warns(DeprecationWarning, match="misclassified"):
        assert evaluation.wrong is evaluation.misclassified  # type: ignore[attr-defined]
    with pytest.warns(DeprecationWarning, match="standard_error"):
        assert evaluation.margin() == evaluation.standard_error


def test_an_unknown_name_is_none() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = training.Nothing
