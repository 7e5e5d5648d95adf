"""The gate: a new version takes over only by the rule that its job names."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from service.errors import PreconditionFailed, ServiceError, Unavailable
from service.job import JobRequest
from service.registry import Registry
from training import Dataset, TrainingError, evaluate, recipes
from training.experiment import split

Samples = Callable[[], Dataset | None]
"""Gives the samples to judge by, if there are any."""

_COMPARISONS = 5
_TOLERATED_LOSS = 0.002
"""Of accuracy on the recipe's held-out examples, for a version that reads more of the samples right."""
_LOOKED_BACK = 20  # promotions among which an own one is looked for


@dataclass(frozen=True)
class Verdict:
    """What became of a new version."""

    promoted: bool
    reason: str | None

    def state(self, request: JobRequest) -> str:
        """The job's final state: a version that was to be promoted and was not is rejected."""
        return "succeeded" if self.promoted or request.promote == "never" else "rejected"


def judge(
    registry: Registry, alias: str, request: JobRequest, version: int, samples: Samples = lambda: None
) -> Verdict:
    """Promote the version if the rule allows; may be repeated. A version that cannot be compared is not promoted.

    Where the job has learned from samples, `samples` gives those by which it is judged, too. Raises Unavailable when
    the store is out of reach.
    """
    if request.promote == "never":
        return Verdict(promoted=False, reason=None)
    try:
        for _ in range(_COMPARISONS):
            with contextlib.suppress(PreconditionFailed):  # the alias moved meanwhile: compare with what it means now
                return _judge_once(registry, alias, request, version, samples)
        return Verdict(promoted=False, reason="the serving version kept changing while they were compared")
    except Unavailable:
        raise
    except (ServiceError, TrainingError) as error:
        return Verdict(promoted=False, reason=str(error))


def _judge_once(registry: Registry, alias: str, request: JobRequest, version: int, samples: Samples) -> Verdict:
    """Judge against what the alias means now. Raises PreconditionFailed when that changes before the promotion."""
    generation = registry.generation(request.model, alias)  # first: what comes after this look is noticed
    history = registry.history(request.model, alias, most=_LOOKED_BACK)
    if done := next((state for state in history if state.version == version), None):
        return Verdict(promoted=True, reason=done.reason)  # before we were cut off; others may have promoted since
    deserves, reason = True, "promoted without comparison"
    if request.promote == "if_better":
        deserves, reason = _compare(registry, history[0].version if history else None, request, version, samples)
    if deserves:
        registry.promote(request.model, alias, version, expected_generation=generation, reason=reason)
    return Verdict(deserves, reason)


def _compare(
    registry: Registry, serving: int | None, request: JobRequest, version: int, samples: Samples
) -> tuple[bool, str]:
    """Hold the new version and the serving one against the recipe's held-out examples, and against the samples.

    What reads more of the samples right may read a little less of the others.
    """
    if serving is None:
        return True, "the first version of its model"
    held_out = split(recipes.get(request.recipe).replace(**request.settings)).held_out
    new, old = registry.load(request.model, version).network, registry.load(request.model, serving).network
    mine, theirs = evaluate(new, held_out).accuracy, evaluate(old, held_out).accuracy
    better = mine >= theirs
    figures = f"{mine:.4f} against {theirs:.4f} of version {serving} on {len(held_out):,} held out"
    if given := samples():
        corrected, misread = evaluate(new, given).accuracy, evaluate(old, given).accuracy
        better = (better and corrected >= misread) or (mine >= theirs - _TOLERATED_LOSS and corrected > misread)
        figures += f", {corrected:.4f} against {misread:.4f} on {len(given):,} samples"
    return better, ("at least as good: " if better else "not as good: ") + figures
