"""A new version held against the serving one: golden digits, held-out examples, samples, calibration, speed."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from service.jobs.datasets import resolve_recipe
from service.jobs.job import JobRequest
from service.jobs.leakage import exclude_seen
from service.registry.manifest import Manifest
from service.registry.registry import Registry
from service.serving.model import ServingModel, load_and_warm
from training import Dataset, evaluate, recipes
from training.data import open_source
from training.data.dataset import DIGITS
from training.experiment import split

MAX_ACCURACY_DROP = 0.002
"""Of accuracy on the recipe's held-out examples, for a version that reads more of the samples right."""

MAX_CALIBRATION_ERROR_RISE = 0.05
"""By how much the calibration error may exceed that of the serving version."""

_LEAST_UNSEEN = 100
_TIMED = 50


@dataclass(frozen=True)
class Comparison:
    """Whether a new version deserves to take over, why, and the figures."""

    passes: bool
    reason: str
    figures: dict[str, Any]


@dataclass(frozen=True)
class GatePolicy:
    """What a comparison needs beside the two versions."""

    samples: Callable[[], Dataset | None] = lambda: None
    """Gives the samples to judge by, too, where the job has learned from some."""
    max_predict_ms: float = math.inf
    datasets_dir: Path | None = None


def compare(
    registry: Registry, serving: int | None, request: JobRequest, version: int, rules: GatePolicy
) -> Comparison:
    """Judge a new version. Raises CorruptModel, TrainingError, InvalidInput when that cannot be done."""
    new = load_and_warm(registry.load(request.model, version))
    milliseconds = _predict_milliseconds(new)
    figures: dict[str, Any] = {"predict_ms": round(milliseconds, 3), "against": serving}
    if milliseconds > rules.max_predict_ms:
        slow = f"too slow: {milliseconds:.1f} ms for an image, where {rules.max_predict_ms:g} ms are allowed"
        return Comparison(False, slow, figures)
    if serving is None:
        return Comparison(True, "the first version of its model", figures)
    old = load_and_warm(registry.load(request.model, serving))
    if new.labels != old.labels:
        return Comparison(False, f"it has other labels than version {serving}", figures)
    figures["golden_lost"] = _golden_lost(new, old)
    return _held_out(registry, new, old, request, rules, figures)


def _held_out(
    registry: Registry,
    new: ServingModel,
    old: ServingModel,
    request: JobRequest,
    rules: GatePolicy,
    figures: dict[str, Any],
) -> Comparison:
    """Count what both read right. What reads more of the samples right may read a little less of the others."""
    recipe = resolve_recipe(recipes.get(request.recipe).replace(**request.settings), rules.datasets_dir)
    recipe = recipe.continuing(new.network.config)  # whose classes count, not those of the recipe's layers
    manifests = [registry.manifest(request.model, snapshot.version) for snapshot in (old, new)]
    held_out, doubt = _fair(split(recipe).held_out, registry, manifests, rules.datasets_dir)
    mine, theirs = evaluate(new.network, held_out), evaluate(old.network, held_out)
    gained, forgotten = (int((a & ~b).sum()) for a, b in _pairs(mine.predicted, theirs.predicted, held_out))
    figures |= {
        "examples": mine.examples,
        "accuracy": mine.accuracy,
        "against_accuracy": theirs.accuracy,
        "gained": gained,
        "lost": forgotten,
        "mcnemar_p": mcnemar(gained, forgotten),
        "calibration_error": mine.calibration_error,
        "against_calibration_error": theirs.calibration_error,
        "doubt": doubt,
    }
    better = mine.accuracy >= theirs.accuracy
    text = f"{mine.accuracy:.4f} against {theirs.accuracy:.4f} of version {old.version}"
    text += f" on {mine.examples:,} held out, p = {figures['mcnemar_p']:.2g}"
    if samples := rules.samples():
        corrected, misread = (evaluate(each.network, samples).accuracy for each in (new, old))
        tolerated = round(theirs.accuracy - mine.accuracy, 9) <= MAX_ACCURACY_DROP and corrected > misread
        better = (better and corrected >= misread) or tolerated
        text += f", {corrected:.4f} against {misread:.4f} on {len(samples):,} {samples.name}"
        figures |= {"samples": len(samples), "samples_accuracy": corrected, "against_samples_accuracy": misread}
        figures["samples_judged"] = samples.name
    return _concluded(better, text + (f"; {doubt}" if doubt else ""), figures)


def _concluded(better: bool, text: str, figures: dict[str, Any]) -> Comparison:
    """Say it; what has more right answers may still have lost something that weighs more."""
    if lost := figures["golden_lost"]:
        lost_digits = f"it misreads typical digits that the serving version reads ({', '.join(lost)}): "
        return Comparison(False, lost_digits + text, figures)
    if not better:
        return Comparison(False, f"not as good: {text}", figures)
    error, other = figures["calibration_error"], figures["against_calibration_error"]
    if error > other + MAX_CALIBRATION_ERROR_RISE:
        return Comparison(False, f"its calibration error is {error:.3f}, the other's {other:.3f}: {text}", figures)
    return Comparison(True, f"at least as good: {text}", figures)


def _pairs(mine: Any, theirs: Any, examples: Dataset) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    right, was_right = mine == examples.labels, theirs == examples.labels
    return (right, was_right), (was_right, right)


def _fair(
    held_out: Dataset, registry: Registry, manifests: list[Manifest], datasets_dir: Path | None
) -> tuple[Dataset, str | None]:
    """Keep the examples that neither version has learned from, or say why the comparison may be unfair."""
    kept = held_out
    for manifest in manifests:
        left = exclude_seen(kept, registry, manifest, datasets_dir)
        if left is None:
            return held_out, f"version {manifest.version} may have learned from some of them"
        kept = left
    if len(kept) < min(_LEAST_UNSEEN, len(held_out)):
        return held_out, f"all but {len(kept):,} of them were learned from by one of the two"
    return kept, None


def mcnemar(gained: int, lost: int) -> float:
    """Give the probability of so unequal a change or a more unequal one by chance (McNemar 1947, exact, two-sided)."""
    changed, fewer = gained + lost, min(gained, lost)
    if not changed:
        return 1.0
    ways = sum(math.comb(changed, k) for k in range(fewer + 1))
    return min(1.0, ways / (1 << (changed - 1)))


@cache
def golden_set() -> Dataset:
    """Give the most typical digit of each class of the starter set: the one nearest to the mean of its class."""
    starter = open_source("starter").train
    rows = []
    for label in range(len(starter.classes)):
        members = np.flatnonzero(starter.labels == label)
        pictures = starter.images[members].reshape(len(members), -1).astype(np.float32)
        rows.append(members[((pictures - pictures.mean(axis=0)) ** 2).sum(axis=1).argmin()])
    return starter.take(np.array(rows))


def _golden_lost(new: ServingModel, old: ServingModel) -> list[str]:
    """Name the golden digits that the old version reads and the new one does not; none for other labels."""
    if new.labels != DIGITS:
        return []
    golden = golden_set()
    mine, theirs = (each.predict(golden.images).argmax(axis=1) for each in (new, old))
    return [golden.classes[n] for n in np.flatnonzero((theirs == golden.labels) & (mine != golden.labels))]


def _predict_milliseconds(snapshot: ServingModel) -> float:
    """Time one image, the median of several."""
    image, seconds = golden_set().images[:1], list[float]()
    for _ in range(_TIMED):
        started = time.perf_counter()
        snapshot.predict(image)
        seconds.append(time.perf_counter() - started)
    return 1000 * sorted(seconds)[_TIMED // 2]
