"""The promotion gate: decides by the rule of a job whether its version takes over, and stores the decision.

    models/<name>/<version>/verdict.json    the decision

A new version is compared with the serving one on a golden set, on held-out examples that neither has learned from, on
held-out samples, by calibration error, and by speed.
"""

import contextlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from service.errors import PreconditionFailed, ServiceError, Unavailable
from service.jobs.datasets import resolve_recipe
from service.jobs.evaluation import evaluate_model, golden_set
from service.jobs.job import JobRequest
from service.jobs.leakage import exclude_seen
from service.json_objects import read_object
from service.registry.manifest import Manifest
from service.registry.registry import Registry
from service.serving.model import ServingModel, load_and_warm
from training import Dataset, TrainingError, recipes
from training.data.dataset import DIGITS
from training.recipes.experiment import load_splits

MAX_ACCURACY_DROP = 0.002
"""On held-out examples, allowed for a version that predicts more of the samples correctly."""
MAX_CALIBRATION_ERROR_RISE = 0.05
"""Compared to the serving version."""

_MIN_EXAMPLES = 100
_TIMED_PREDICTIONS = 50
_MAX_ATTEMPTS = 5
_HISTORY_LIMIT = 20  # alias entries that are searched for an earlier promotion of the same version


@dataclass(frozen=True)
class GatePolicy:
    """Inputs of the gate besides the two versions."""

    samples: Callable[[], Dataset | None] = lambda: None
    """Returns the samples to evaluate on, if the job has learned from samples."""
    max_predict_ms: float = math.inf
    datasets_dir: Path | None = None


@dataclass(frozen=True)
class Comparison:
    """Whether a new version passes, why, and the metrics."""

    passes: bool
    reason: str
    metrics: dict[str, Any]


@dataclass(frozen=True)
class GateDecision:
    """Whether a new version was promoted, why, and the metrics."""

    promoted: bool
    reason: str | None
    metrics: dict[str, Any] = field(default_factory=dict)

    def state(self, request: JobRequest) -> str:
        """Return the final state of the job: a version that was to be promoted but was not is rejected."""
        return "succeeded" if self.promoted or request.promote == "never" else "rejected"


def decide_promotion(
    registry: Registry, alias: str, request: JobRequest, version: int, policy: GatePolicy | None = None
) -> GateDecision:
    """Promote a version if the rule of its job allows it. Idempotent; a version that cannot be compared is rejected.

    Raises Unavailable if the store is.
    """
    if request.promote == "never":
        return GateDecision(promoted=False, reason=None)
    decision = _decide(registry, alias, request, version, policy or GatePolicy())
    if decision.metrics or load_decision(registry, request.model, version) is None:
        content = {"promoted": decision.promoted, "reason": decision.reason, "figures": decision.metrics}
        save_decision(registry, request.model, version, content)
    return decision


def _decide(registry: Registry, alias: str, request: JobRequest, version: int, policy: GatePolicy) -> GateDecision:
    try:
        for _ in range(_MAX_ATTEMPTS):
            with contextlib.suppress(PreconditionFailed):  # the alias changed: compare with its new version
                return _decide_once(registry, alias, request, version, policy)
        return GateDecision(promoted=False, reason="the serving version changed during every comparison")
    except Unavailable:
        raise
    except (ServiceError, TrainingError) as error:
        return GateDecision(promoted=False, reason=str(error))


def _decide_once(registry: Registry, alias: str, request: JobRequest, version: int, policy: GatePolicy) -> GateDecision:
    """Compare with the current version of the alias. Raises PreconditionFailed if the alias changes meanwhile."""
    generation = registry.generation(request.model, alias)  # read first, so that later changes are detected
    history = registry.history(request.model, alias, limit=_HISTORY_LIMIT)
    if earlier := next((entry for entry in history if entry.version == version), None):
        return GateDecision(promoted=True, reason=earlier.reason)  # by an earlier attempt of this job
    result = Comparison(True, "promoted without comparison", {})
    if request.promote == "if_better":
        result = compare(registry, history[0].version if history else None, request, version, policy)
    if result.passes:
        registry.promote(request.model, alias, version, expected_generation=generation, reason=result.reason)
    return GateDecision(result.passes, result.reason, result.metrics)


def compare(
    registry: Registry, serving: int | None, request: JobRequest, version: int, policy: GatePolicy
) -> Comparison:
    """Compare a new version with the serving one. Raises CorruptModel, TrainingError or UnprocessableContent."""
    new = load_and_warm(registry.load(request.model, version))
    milliseconds = _predict_milliseconds(new)
    metrics: dict[str, Any] = {"predict_ms": round(milliseconds, 3), "against": serving}
    if milliseconds > policy.max_predict_ms:
        reason = f"too slow: {milliseconds:.1f} ms per image; the limit is {policy.max_predict_ms:g} ms"
        return Comparison(False, reason, metrics)
    if serving is None:
        return Comparison(True, "the first version of its model", metrics)
    old = load_and_warm(registry.load(request.model, serving))
    if new.labels != old.labels:
        return Comparison(False, f"it has other labels than version {serving}", metrics)
    metrics["golden_lost"] = _golden_losses(new, old)
    return _compare_accuracy(registry, new, old, request, policy, metrics)


def _compare_accuracy(
    registry: Registry,
    new: ServingModel,
    old: ServingModel,
    request: JobRequest,
    policy: GatePolicy,
    metrics: dict[str, Any],
) -> Comparison:
    """Compare on held-out examples, and on samples if the job has learned from some."""
    recipe = resolve_recipe(recipes.get(request.recipe).replace(**request.settings), policy.datasets_dir)
    recipe = recipe.continuing(new.network.config)  # its number of classes may differ from the recipe's
    manifests = [registry.manifest(request.model, model.version) for model in (old, new)]
    held_out, caveat = _without_leakage(load_splits(recipe).final_test, registry, manifests, policy.datasets_dir)
    mine, theirs = evaluate_model(new, held_out), evaluate_model(old, held_out)
    gained, lost = int((mine.correct & ~theirs.correct).sum()), int((theirs.correct & ~mine.correct).sum())
    metrics |= {
        "examples": len(held_out),
        "accuracy": mine.accuracy,
        "against_accuracy": theirs.accuracy,
        "gained": gained,
        "lost": lost,
        "mcnemar_p": mcnemar(gained, lost),
        "calibration_error": mine.calibration_error,
        "against_calibration_error": theirs.calibration_error,
        "doubt": caveat,
    }
    better = mine.accuracy >= theirs.accuracy
    summary = f"{mine.accuracy:.4f} against {theirs.accuracy:.4f} of version {old.version}"
    summary += f" on {len(held_out):,} held-out examples, p = {metrics['mcnemar_p']:.2g}"
    if samples := policy.samples():
        corrected, against = (evaluate_model(model, samples).accuracy for model in (new, old))
        acceptable = round(theirs.accuracy - mine.accuracy, 9) <= MAX_ACCURACY_DROP and corrected > against
        better = (better and corrected >= against) or acceptable
        summary += f", {corrected:.4f} against {against:.4f} on {len(samples):,} {samples.name}"
        metrics |= {"samples": len(samples), "samples_accuracy": corrected, "against_samples_accuracy": against}
        metrics["samples_judged"] = samples.name
    return _conclude(better, summary + (f"; {caveat}" if caveat else ""), metrics)


def _conclude(better: bool, summary: str, metrics: dict[str, Any]) -> Comparison:
    """Apply the rules that a more accurate version may still violate."""
    if lost := metrics["golden_lost"]:
        reason = f"it misreads typical digits that the serving version reads ({', '.join(lost)}): {summary}"
        return Comparison(False, reason, metrics)
    if not better:
        return Comparison(False, f"not as good: {summary}", metrics)
    error, against = metrics["calibration_error"], metrics["against_calibration_error"]
    if error > against + MAX_CALIBRATION_ERROR_RISE:
        return Comparison(False, f"its calibration error rises from {against:.3f} to {error:.3f}: {summary}", metrics)
    return Comparison(True, f"at least as good: {summary}", metrics)


def _without_leakage(
    held_out: Dataset, registry: Registry, manifests: list[Manifest], datasets_dir: Path | None
) -> tuple[Dataset, str | None]:
    """Return the examples that neither version has learned from, or all of them and a caveat."""
    remaining = held_out
    for manifest in manifests:
        kept = exclude_seen(remaining, registry, manifest, datasets_dir)
        if kept is None:
            return held_out, f"version {manifest.version} may have learned from some of them"
        remaining = kept
    if len(remaining) < min(_MIN_EXAMPLES, len(held_out)):
        return held_out, f"one of the versions has learned from all but {len(remaining):,} of them"
    return remaining, None


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided p-value of McNemar's exact test (1947)."""
    changed, fewer = gained + lost, min(gained, lost)
    if not changed:
        return 1.0
    ways = sum(math.comb(changed, k) for k in range(fewer + 1))
    return min(1.0, ways / (1 << (changed - 1)))


def _golden_losses(new: ServingModel, old: ServingModel) -> list[str]:
    """Return the golden digits that only the old version predicts correctly; none for a model with other labels."""
    if new.labels != DIGITS:
        return []
    golden = golden_set()
    mine, theirs = evaluate_model(new, golden), evaluate_model(old, golden)
    return [golden.classes[n] for n in np.flatnonzero(theirs.correct & ~mine.correct)]


def _predict_milliseconds(model: ServingModel) -> float:
    """Return the median time of predicting one image."""
    image, seconds = golden_set().images[:1], list[float]()
    for _ in range(_TIMED_PREDICTIONS):
        started = time.perf_counter()
        model.predict(image)
        seconds.append(time.perf_counter() - started)
    return 1000 * sorted(seconds)[_TIMED_PREDICTIONS // 2]


def save_decision(registry: Registry, name: str, version: int, content: dict[str, Any]) -> None:
    """Store a decision, replacing an earlier one. Raises Unavailable."""
    registry.store.put(_key(registry, name, version), json.dumps(content).encode())


def load_decision(registry: Registry, name: str, version: int) -> dict[str, Any] | None:
    """Return the stored decision; None if there is none or it is unreadable. Raises Unavailable."""
    key = _key(registry, name, version)
    try:
        with registry.store.damaged.track(key, ValueError):
            return read_object(registry.store.get(key))
    except (FileNotFoundError, ValueError):
        return None


def _key(registry: Registry, name: str, version: int) -> str:
    return f"{registry.version_prefix(name, version)}/verdict.json"
