"""Whether a recipe can be carried out on a source, found out from its labels alone, before anything is trained."""

from collections.abc import Mapping

from training.data.dataset import Source
from training.errors import ConfigError
from training.fit.steps import steps_per_epoch
from training.nn.losses import LOSSES
from training.recipes.config import Recipe
from training.recipes.experiment import divided
from training.recipes.teachers import open_teacher

_MOST_TEACHERS = 8


def check(recipe: Recipe, source: Source) -> tuple[str, ...]:
    """Divide a source's labels as the recipe does, and hold them against its network; answer the classes.

    Raises ConfigError that names the setting, or DataError, where the training would.
    """
    splits = divided(source, recipe)
    classes = splits.train.classes
    network = recipe.fitted(len(classes)).network
    steps_per_epoch(network, len(splits.train), recipe.fit)
    if recipe.fit.patience and splits.watched is None:
        raise ConfigError("patience counts validations, and there are no examples to validate on", field="patience")
    loss = LOSSES[recipe.fit.loss]
    if loss.output_activations and network.output not in loss.output_activations:
        wanted = " or ".join(loss.output_activations)
        raise ConfigError(f"the loss {recipe.fit.loss} wants the output {wanted}, not {network.output}", field="loss")
    weights = recipe.fit.class_weights
    named = weights if isinstance(weights, Mapping) else ()
    unknown = [label for label in named if label >= len(classes)]
    if unknown:
        raise ConfigError(
            f"class_weights names class {unknown[0]}, but there are the classes 0 to {len(classes) - 1}",
            field="class_weights",
        )
    if len(recipe.data.teachers) > _MOST_TEACHERS:
        raise ConfigError(f"at most {_MOST_TEACHERS} teachers are taken", field="teachers")
    for said in set(recipe.data.teachers):
        open_teacher(said, network, classes)
    return classes
