"""How good a network is on a set of examples."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.data.dataset import Dataset
from training.deprecation import renamed
from training.errors import ConfigError, DataError
from training.evaluation import metrics
from training.inputs.class_labels import check_range, encode
from training.nn.mlp import MLP, PREDICT_BATCH
from training.types import Floats, Labels, Targets


@renamed(wrong="misclassified", confusion="confusion_matrix")
@dataclass(frozen=True)
class Evaluation:
    """The metrics of one network on one set of examples."""

    examples: int
    accuracy: float
    top_3_accuracy: float
    calibration_error: float
    confusion_matrix: Labels
    """(classes, classes): rows are the true classes, columns the predicted ones."""
    misclassified: Labels
    """The rows that were misclassified."""
    predicted: Labels
    """The class number predicted for each row."""

    @property
    def report(self) -> metrics.ClassReport:
        """Precision, recall and F1 by class."""
        return metrics.class_report(self.confusion_matrix)

    @property
    def standard_error(self) -> float:
        """Standard error of the accuracy, as of a binomial proportion."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / max(self.examples, 1))

    def margin(self) -> float:
        """Former name of `standard_error`."""
        warnings.warn(
            "Evaluation.margin() is deprecated; use Evaluation.standard_error", DeprecationWarning, stacklevel=2
        )
        return self.standard_error


def two_column_probabilities(network: MLP, features: Floats) -> Floats:
    """Return one column for each class, also for a single sigmoid output, whose classes are 0 and 1."""
    outputs = network.predict(features)
    return np.concatenate([1 - outputs, outputs], axis=1) if outputs.shape[1] == 1 else outputs


def predicted_classes(network: MLP, x: Any) -> Labels:
    """Return the class number of the largest output of each row; for a single sigmoid output, whether it exceeds ½.

    Raises ConfigError for a single output of another activation.
    """
    _check_has_classes(network, "predict(x)")
    return np.asarray(two_column_probabilities(network, x).argmax(axis=1))


def score(network: MLP, x: Any, y: Any) -> float:
    """Return the accuracy where y has labels, else R², the mean over the outputs.

    With targets (n, k), the accuracy of sigmoid outputs is that of all entries, and that of softmax outputs the share
    of rows whose largest entries agree. Raises DataError for examples that do not fit the network.
    """
    outputs = network.predict(x)
    targets = _targets(network, y, len(outputs))
    if _are_labels(network, targets):
        return float(np.mean(predicted_classes(network, x) == targets))
    targets = targets.reshape(len(targets), -1)
    if targets.shape != outputs.shape:
        raise DataError(f"y must have shape ({len(outputs)}, {outputs.shape[1]}), got {targets.shape}")
    if network.config.output == "sigmoid":
        return float(np.mean((outputs > 0.5) == (targets > 0.5)))
    if network.config.output == "softmax":
        return float(np.mean(outputs.argmax(axis=1) == targets.argmax(axis=1)))
    return metrics.r2(outputs, targets)


def evaluate(network: MLP, dataset: Dataset | Any, y: Any = None) -> Evaluation:
    """Evaluate a network on a Dataset, or on rows x (n, features) and their labels y: `evaluate(network, x, y)`.

    Raises DataError when examples or classes do not fit the network.
    """
    if isinstance(dataset, Dataset) and y is None:
        # In chunks: the images as floating-point numbers would take many times the memory of the set itself.
        chunks = (
            dataset.images[start : start + PREDICT_BATCH] for start in range(0, max(len(dataset), 1), PREDICT_BATCH)
        )
        form = network.config.input
        probabilities = np.concatenate(
            [two_column_probabilities(network, form.to_features(images)) for images in chunks]
        )
        return _evaluation(probabilities, dataset.labels, len(dataset.classes))
    if isinstance(dataset, Dataset) or y is None:
        given = f"a {type(dataset).__name__} and " + ("no y" if y is None else "y")
        raise DataError(f"evaluate takes a Dataset, or x and y: evaluate(network, x, y); got {given}")
    _check_has_classes(network, "score(x, y)")
    probabilities = two_column_probabilities(network, dataset)
    labels = _targets(network, y, len(probabilities))
    if labels.ndim == 2 and labels.shape == probabilities.shape and (np.count_nonzero(labels, axis=1) == 1).all():
        labels = labels.argmax(axis=1)  # one-hot
    if not _are_labels(network, labels):
        raise DataError(f"evaluate needs one label for each row, got y of shape {labels.shape}; use score(x, y)")
    check_range(labels, probabilities.shape[1])
    return _evaluation(probabilities, labels.astype(np.int64), probabilities.shape[1])


def _evaluation(probabilities: Floats, labels: Labels, classes: int) -> Evaluation:
    predicted = probabilities.argmax(axis=1)
    return Evaluation(
        examples=len(labels),
        accuracy=metrics.accuracy(probabilities, labels),
        top_3_accuracy=metrics.top_k_accuracy(probabilities, labels),
        calibration_error=metrics.expected_calibration_error(probabilities, labels),
        confusion_matrix=metrics.confusion_matrix(predicted, labels, max(probabilities.shape[1], classes)),
        misclassified=np.flatnonzero(predicted != labels),
        predicted=predicted,
    )


def _has_classes(network: MLP) -> bool:
    return network.config.layers[-1] > 1 or network.config.output == "sigmoid"


def _check_has_classes(network: MLP, instead: str) -> None:
    if not _has_classes(network):
        raise ConfigError(
            f"a network with one output and the activation {network.config.output} has no classes; use {instead}",
            field="output",
        )


def _are_labels(network: MLP, targets: Targets) -> bool:
    return targets.ndim == 1 and targets.dtype.kind in "iub" and _has_classes(network)


def _targets(network: MLP, y: Any, rows: int) -> Targets:
    targets = encode(network.classes_, y, network.config.layers[-1], are_classes=_has_classes(network))
    if targets.ndim < 1 or len(targets) != rows:
        raise DataError(f"x has {rows} rows, y has {len(targets) if targets.ndim else 'none'}")
    return targets
