"""Formats of the line per epoch: our own, and those of the published systems."""

from collections.abc import Callable

from training.fit.history import Epoch
from training.recipes.experiment import Experiment

LogFormat = Callable[[Epoch, Experiment], str]


def plain(epoch: Epoch, experiment: Experiment) -> str:  # noqa: ARG001 -- signature shared by all entries
    """Losses, accuracies and speed."""
    parts = [f"epoch {epoch.number:>{len(str(epoch.epochs))}}/{epoch.epochs}", f"loss {epoch.train.loss:.4f}"]
    if epoch.train.accuracy is not None:
        parts.append(f"accuracy {epoch.train.accuracy:.2%}")
    if epoch.validation:
        parts.append(f"validation loss {epoch.validation.loss:.4f}")
        if epoch.validation.accuracy is not None:
            parts.append(f"validation accuracy {epoch.validation.accuracy:.2%}")
    return "  ".join([*parts, f"{epoch.images_per_second:,.0f} images/s"])


def correct_of_total(epoch: Epoch, experiment: Experiment) -> str:
    """Nielsen's format, with epochs counted from 0: `Epoch 0: 9129 / 10000`."""
    total = len(experiment.splits.monitored or experiment.splits.train)
    return f"Epoch {epoch.number - 1}: {round((epoch.monitored.accuracy or 0) * total)} / {total}"


def mse_and_accuracies(epoch: Epoch, experiment: Experiment) -> str:
    """Raschka's format; his error is the mean over all entries, ours the sum over the outputs."""
    mean = epoch.train.loss / experiment.recipe.network.layers[-1]
    return (
        f"Epoch: {epoch.number:03d}/{epoch.epochs:03d} | Train MSE: {mean:.2f} "
        f"| Train Acc: {epoch.train.accuracy or 0:.2%} | Valid Acc: {epoch.monitored.accuracy or 0:.2%}"
    )


def train_and_test(epoch: Epoch, experiment: Experiment) -> str:  # noqa: ARG001 -- signature shared by all entries
    """Saitoh's format: `train acc, test acc | 0.9, 0.9`."""
    return f"train acc, test acc | {epoch.train.accuracy}, {epoch.monitored.accuracy}"


def time_and_accuracy(epoch: Epoch, experiment: Experiment) -> str:
    """Time since the start and validation accuracy."""
    spent = sum(past.seconds for past in experiment.run.history)
    return f"Epoch: {epoch.number}, Time Spent: {spent:.2f}s, Accuracy: {(epoch.monitored.accuracy or 0):.2%}"


def keras(epoch: Epoch, experiment: Experiment) -> str:
    """The format of Keras: epoch, full progress bar, time, accuracy and loss."""
    batches = -(-len(experiment.splits.train) // experiment.recipe.fit.batch_size)
    pace = epoch.seconds / batches
    return (
        f"Epoch {epoch.number}/{epoch.epochs}\n{batches}/{batches} ━━━━━━━━━━━━━━━━━━━━ {epoch.seconds:.0f}s "
        f"{1000 * pace:.0f}ms/step - accuracy: {epoch.train.accuracy or 0:.4f} - loss: {epoch.train.loss:.4f}"
    )


LOG_FORMATS: dict[str, LogFormat] = {
    "plain": plain,
    "correct_of_total": correct_of_total,
    "mse_and_accuracies": mse_and_accuracies,
    "train_and_test": train_and_test,
    "time_and_accuracy": time_and_accuracy,
    "keras": keras,
}


def make_formatter(experiment: Experiment) -> Callable[[Epoch], str]:
    """Return the formatter of a recipe."""
    line = LOG_FORMATS[experiment.recipe.log_format]
    return lambda epoch: line(epoch, experiment)
