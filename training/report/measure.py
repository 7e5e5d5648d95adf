"""Measurements of a released model, made on its weights file."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training import recipes
from training.data import Dataset
from training.errors import ConfigError
from training.evaluation.calibration import negative_log_likelihood, risk_coverage_at, risk_coverage_curve
from training.evaluation.evaluate import Evaluation, evaluate
from training.export.npz import load
from training.nn.config import parameter_count
from training.nn.mlp import MLP
from training.recipes.experiment import Splits, load_splits
from training.report.corruptions import CORRUPTIONS
from training.report.external_sets import external_sets, normalize_all
from training.types import Floats, Labels, Pixels

N_PREPROCESSED = 1000
"""Number of corrupted images that are also evaluated with preprocessing."""
_BATCHES = (1, 64)


@dataclass(frozen=True)
class ReleasedModel:
    """A model folder and its contents."""

    folder: Path
    manifest: dict[str, Any]
    network: MLP
    splits: Splits

    @property
    def test(self) -> Dataset:
        """The examples to evaluate on."""
        return self.splits.final_test


def open_released_model(folder: Path) -> ReleasedModel:
    """Load a model folder and the data that its manifest names.

    Raises ConfigError if it is not a model folder, and what `load` and `load_splits` raise.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        recipe = recipes.get(manifest["recipe"]).replace(**manifest["settings"])
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{folder} is no folder of a model: {error}", field="model") from error
    return ReleasedModel(folder, manifest, load(folder / "weights.npz"), load_splits(recipe))


def measure(model: ReleasedModel) -> dict[str, Any]:
    """Measure everything in a model card; returns JSON values."""
    network, test = model.network, model.test
    judged = evaluate(network, test)
    logits = network.forward(network.config.input.to_features(test.images))[0]
    probabilities = network.predict(network.config.input.to_features(test.images))
    threshold = model.manifest.get("abstain", {}).get("below")
    return {
        "network": "-".join(map(str, network.config.layers)),
        "parameters": parameter_count(network.config),
        "bytes": (model.folder / "weights.npz").stat().st_size,
        "test": _judged(judged, test) | {"surprise": negative_log_likelihood(logits, test.labels)},
        "refusals": [asdict(row) for row in risk_coverage_curve(probabilities, test.labels)],
        "abstaining": asdict(risk_coverage_at(probabilities, test.labels, threshold)) if threshold else None,
        "foreign": [_foreign(network, *found) for found in external_sets()],
        "damages": [_damaged(network, test, kind) for kind in CORRUPTIONS],
        "microseconds": {str(rows): _microseconds(network, rows) for rows in _BATCHES},
    }


def _judged(judged: Evaluation, test: Dataset) -> dict[str, Any]:
    report = judged.report
    classes = [
        {"class": name, "examples": int(report.support[number])}
        | {kind: float(getattr(report, kind)[number]) for kind in ("precision", "recall", "f1")}
        for number, name in enumerate(test.classes)
    ]
    return {
        "examples": judged.examples,
        "wrong": len(judged.misclassified),
        "accuracy": judged.accuracy,
        "top_3_accuracy": judged.top_3_accuracy,
        "calibration_error": judged.calibration_error,
        "classes": classes,
    }


def _right(network: MLP, glyphs: Pixels, labels: Labels) -> float:
    features = network.config.input.to_features
    return float(np.mean(network.predict(features(glyphs)).argmax(axis=1) == labels))


def _foreign(network: MLP, name: str, glyphs: Pixels, labels: Labels) -> dict[str, Any]:
    return {"set": name, "examples": len(labels), "accuracy": _right(network, glyphs, labels)}


def _damaged(network: MLP, test: Dataset, kind: str) -> dict[str, Any]:
    damage, rows = CORRUPTIONS[kind], []
    for level in damage.levels:
        images = damage.function(test.images, level, np.random.default_rng(0))
        alone = _right(network, images, test.labels)
        read = _right(network, normalize_all(images[:N_PREPROCESSED]), test.labels[:N_PREPROCESSED])
        rows.append({"level": level, "alone": alone, "preprocessed": read})
    return {"damage": kind, "unit": damage.unit, "levels": rows}


def _microseconds(network: MLP, rows: int) -> float:
    """Return the median time of `predict`."""
    x: Floats = np.random.default_rng(0).random((rows, network.config.layers[0]), np.float32)
    return round(1e6 * _median_seconds(lambda: network.predict(x)), 1)


def _median_seconds(call: Callable[[], object], calls: int = 500) -> float:
    seconds = []
    for _ in range(calls):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[calls // 10 :]))
