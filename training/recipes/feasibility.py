"""Checks of a recipe without training: that its settings fit a data set, and that its gradients are right."""

from collections.abc import Mapping

import numpy as np

from training.data.dataset import TrainTest
from training.errors import ConfigError
from training.evaluation.gradcheck import relative_errors
from training.fit.config import FitConfig
from training.fit.steps import steps_per_epoch
from training.inputs.examples import check_and_encode
from training.nn.losses import LOSSES
from training.nn.mlp import MLP
from training.recipes.config import Recipe
from training.recipes.distillation import load_teacher
from training.recipes.experiment import load_splits, split_source

_MAX_TEACHERS = 8


def check(recipe: Recipe, source: TrainTest) -> tuple[str, ...]:
    """Check a recipe against the labels of a data set; return its classes.

    Raises the ConfigError, naming the setting, or DataError that training would raise.
    """
    splits = split_source(source, recipe)
    classes = splits.train.classes
    network = recipe.fitted(len(classes)).network
    steps_per_epoch(network, len(splits.train), recipe.fit)
    if recipe.fit.patience and splits.monitored is None:
        raise ConfigError("patience counts validations, and there are no examples to validate on", field="patience")
    loss = LOSSES[recipe.fit.loss]
    if loss.allowed_outputs and network.output not in loss.allowed_outputs:
        wanted = " or ".join(loss.allowed_outputs)
        raise ConfigError(f"the loss {recipe.fit.loss} wants the output {wanted}, not {network.output}", field="loss")
    weights = recipe.fit.class_weights
    named = weights if isinstance(weights, Mapping) else ()
    unknown = [label for label in named if label >= len(classes)]
    if unknown:
        raise ConfigError(
            f"class_weights names class {unknown[0]}, but there are the classes 0 to {len(classes) - 1}",
            field="class_weights",
        )
    if len(recipe.data.teachers) > _MAX_TEACHERS:
        raise ConfigError(f"at most {_MAX_TEACHERS} teachers are taken", field="teachers")
    for teacher in set(recipe.data.teachers):
        load_teacher(teacher, network, classes)
    return classes


def check_gradients(recipe: Recipe, *, examples: int = 20) -> dict[str, float]:
    """Return the relative error of the gradient of each array, on a few real images; see `relative_errors`."""
    network = MLP(recipe.network, recipe.fit.seed, np.float64)
    train = load_splits(recipe).train
    rows = np.arange(min(examples, len(train)))
    x = recipe.network.input.to_features(train.images[rows]).astype(np.float64)
    encoded = check_and_encode(network, (x, train.labels[rows]), FitConfig(loss=recipe.fit.loss))
    return relative_errors(network, encoded.loss, encoded.x, encoded.targets)
