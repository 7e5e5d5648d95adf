"""The figures of a released model, all measured on what is stored: its file, not the run that made it."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training import recipes
from training.data import Dataset
from training.errors import ConfigError, DataError
from training.evaluation.calibration import mean_surprise, refusals, refusing_below
from training.evaluation.evaluate import Evaluation, evaluate
from training.export.npz import load
from training.nn.mlp import MLP, parameter_count
from training.recipes.experiment import Splits, split
from training.report.corruptions import DAMAGES
from training.report.external_sets import foreign_sets
from training.types import Floats, Labels, Pixels
from training.vision.glyph import to_glyph

READ_AGAIN = 1000
"""Of the damaged pictures, so many go through the preprocessing, too."""
_BATCHES = (1, 64)


@dataclass(frozen=True)
class Released:
    """A model's folder, opened."""

    folder: Path
    manifest: dict[str, Any]
    network: MLP
    splits: Splits

    @property
    def test(self) -> Dataset:
        """What it is judged on."""
        return self.splits.held_out


def open_released(folder: Path) -> Released:
    """Open a model's folder with the examples that its manifest tells of.

    Raises ConfigError where it is none, and what `load` and `split` raise.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        recipe = recipes.get(manifest["recipe"]).replace(**manifest["settings"])
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{folder} is no folder of a model: {error}", field="model") from error
    return Released(folder, manifest, load(folder / "weights.npz"), split(recipe))


def measure(model: Released) -> dict[str, Any]:
    """Measure everything that a card tells, as JSON values."""
    network, test = model.network, model.test
    judged = evaluate(network, test)
    logits = network.forward(network.config.input.features(test.images))[0]
    probabilities = network.predict(network.config.input.features(test.images))
    threshold = model.manifest.get("abstain", {}).get("below")
    return {
        "network": "-".join(map(str, network.config.layers)),
        "parameters": parameter_count(network.config),
        "bytes": (model.folder / "weights.npz").stat().st_size,
        "test": _judged(judged, test) | {"surprise": mean_surprise(logits, test.labels)},
        "refusals": [asdict(row) for row in refusals(probabilities, test.labels)],
        "abstaining": asdict(refusing_below(probabilities, test.labels, threshold)) if threshold else None,
        "foreign": [_foreign(network, *found) for found in foreign_sets()],
        "damages": [_damaged(network, test, kind) for kind in DAMAGES],
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
        "wrong": len(judged.wrong),
        "accuracy": judged.accuracy,
        "top_3_accuracy": judged.top_3_accuracy,
        "calibration_error": judged.calibration_error,
        "classes": classes,
    }


def _right(network: MLP, glyphs: Pixels, labels: Labels) -> float:
    features = network.config.input.features
    return float(np.mean(network.predict(features(glyphs)).argmax(axis=1) == labels))


def _foreign(network: MLP, name: str, glyphs: Pixels, labels: Labels) -> dict[str, Any]:
    return {"set": name, "examples": len(labels), "accuracy": _right(network, glyphs, labels)}


def _damaged(network: MLP, test: Dataset, kind: str) -> dict[str, Any]:
    damage, rows = DAMAGES[kind], []
    for level in damage.levels:
        images = damage.function(test.images, level, np.random.default_rng(0))
        alone = _right(network, images, test.labels)
        read = _right(network, _read_again(images[:READ_AGAIN]), test.labels[:READ_AGAIN])
        rows.append({"level": level, "alone": alone, "preprocessed": read})
    return {"damage": kind, "unit": damage.unit, "levels": rows}


def _read_again(images: Pixels) -> Pixels:
    """Send pictures through the preprocessing; what it refuses stays blank, and so is misread."""
    glyphs = np.zeros_like(images)
    for glyph, image in zip(glyphs, images, strict=True):
        try:
            glyph[:] = to_glyph(image)
        except DataError:
            continue
    return glyphs


def _microseconds(network: MLP, rows: int) -> float:
    """Time the network alone: the median of many calls."""
    x: Floats = np.random.default_rng(0).random((rows, network.config.layers[0]), np.float32)
    return round(1e6 * _median_seconds(lambda: network.predict(x)), 1)


def _median_seconds(call: Callable[[], object], calls: int = 500) -> float:
    seconds = []
    for _ in range(calls):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[calls // 10 :]))
