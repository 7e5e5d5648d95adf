"""How good a network is on a set of examples."""

import math
from dataclasses import dataclass

import numpy as np

from training import metrics
from training.arrays import Floats, Labels
from training.data.dataset import Dataset
from training.network import CHUNK, MLP


@dataclass(frozen=True)
class Evaluation:
    """The figures of one network on one set."""

    examples: int
    accuracy: float
    top_3_accuracy: float
    calibration_error: float
    confusion: Labels
    """(classes, classes): rows are the truth, columns the answers."""
    wrong: Labels
    """The rows that were misread."""
    predicted: Labels
    """What each row was read as."""

    @property
    def report(self) -> metrics.ClassReport:
        """Precision, recall and F1 by class."""
        return metrics.class_report(self.confusion)

    def margin(self) -> float:
        """One standard error of the accuracy, of a binomial share."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / max(self.examples, 1))


def class_probabilities(network: MLP, features: Floats) -> Floats:
    """Give one column a class, also for a network with a single sigmoid output, whose classes are 0 and 1."""
    outputs = network.predict(features)
    return np.concatenate([1 - outputs, outputs], axis=1) if outputs.shape[1] == 1 else outputs


def evaluate(network: MLP, dataset: Dataset) -> Evaluation:
    """Read every picture of the set. Raises DataError when pictures or classes do not fit the network."""
    # In chunks: the pictures as floating-point numbers would take sixteen times the memory of the set itself.
    chunks = (dataset.images[start : start + CHUNK] for start in range(0, max(len(dataset), 1), CHUNK))
    form = network.config.input
    probabilities = np.concatenate([class_probabilities(network, form.features(images)) for images in chunks])
    predicted, labels = probabilities.argmax(axis=1), dataset.labels
    return Evaluation(
        examples=len(dataset),
        accuracy=metrics.accuracy(probabilities, labels),
        top_3_accuracy=metrics.top_k_accuracy(probabilities, labels),
        calibration_error=metrics.calibration_error(probabilities, labels),
        confusion=metrics.confusion_matrix(predicted, labels, max(probabilities.shape[1], len(dataset.classes))),
        wrong=np.flatnonzero(predicted != labels),
        predicted=predicted,
    )
