"""Metrics: how well a network does. Unlike losses they need no gradient.

Those of classifiers take `probabilities` (n, k) and `labels` (n,).
"""

from dataclasses import dataclass

import numpy as np

from training.types import Floats, Labels


def accuracy(probabilities: Floats, labels: Labels) -> float:
    """Fraction of rows whose largest entry is the true class."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def top_k_accuracy(probabilities: Floats, labels: Labels, k: int = 3) -> float:
    """Fraction of rows in which the true class is among the `k` largest entries."""
    best = np.argpartition(-probabilities, min(k, probabilities.shape[1]) - 1, axis=1)[:, :k]
    return float(np.mean((best == labels[:, np.newaxis]).any(axis=1)))


def r2(outputs: Floats, targets: Floats) -> float:
    """Coefficient of determination 1 − Σ(y−a)²/Σ(y−ȳ)², the mean over the columns; both of shape (n, k).

    A constant column counts 1 where it is met exactly, else 0, as in scikit-learn.
    """
    targets = targets.astype(np.float64)
    residual = ((targets - outputs) ** 2).sum(axis=0)
    total = ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)
    return float(np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), residual == 0).mean())


def confusion_matrix(predicted: Labels, labels: Labels, classes: int) -> Labels:
    """Count (true class, predicted class) pairs; shape (classes, classes), rows are the truth."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class ClassReport:
    """Precision, recall and F1 of each class, and how many examples it has; each of shape (classes,)."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Labels


def class_report(confusion: Labels) -> ClassReport:
    """Compute precision, recall and F1 of each class from a confusion matrix; 0 for classes that never occur."""
    hits = np.diag(confusion).astype(float)
    predicted, support = confusion.sum(axis=0), confusion.sum(axis=1)
    precision = hits / np.maximum(predicted, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(predicted + support, 1)
    return ClassReport(precision, recall, f1, support)


def expected_calibration_error(probabilities: Floats, labels: Labels, bins: int = 15) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over equal-width bins (Guo et al. 2017)."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(index, weights=confidence - correct, minlength=bins)
    return float(np.abs(gap).sum() / max(len(labels), 1))
