"""The gate: a new version is promoted only by the rule of its job. The decision is stored beside the version.

models/<name>/<version>/verdict.json    the decision
"""

import contextlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from service.errors import PreconditionFailed, ServiceError, Unavailable
from service.jobs.comparison import Comparison, GatePolicy, compare
from service.jobs.job import JobRequest
from service.json_objects import read_object
from service.registry.registry import Registry
from training import TrainingError

_COMPARISONS = 5
_LOOKED_BACK = 20  # promotions among which an own one is looked for


@dataclass(frozen=True)
class GateDecision:
    """What became of a new version."""

    promoted: bool
    reason: str | None
    figures: dict[str, Any] = field(default_factory=dict)

    def state(self, request: JobRequest) -> str:
        """The job's final state: a version that was to be promoted and was not is rejected."""
        return "succeeded" if self.promoted or request.promote == "never" else "rejected"


def decide_promotion(
    registry: Registry, alias: str, request: JobRequest, version: int, rules: GatePolicy | None = None
) -> GateDecision:
    """Promote the version if the rule allows; may be repeated. A version that cannot be compared is not promoted.

    Raises Unavailable when the store is out of reach.
    """
    if request.promote == "never":
        return GateDecision(promoted=False, reason=None)
    verdict = _judge(registry, alias, request, version, rules or GatePolicy())
    if verdict.figures or load_decision(registry, request.model, version) is None:
        save_decision(registry, request.model, version, asdict(verdict))
    return verdict


def _judge(registry: Registry, alias: str, request: JobRequest, version: int, rules: GatePolicy) -> GateDecision:
    try:
        for _ in range(_COMPARISONS):
            with contextlib.suppress(PreconditionFailed):  # the alias moved meanwhile: compare with what it means now
                return _judge_once(registry, alias, request, version, rules)
        return GateDecision(promoted=False, reason="the serving version kept changing while they were compared")
    except Unavailable:
        raise
    except (ServiceError, TrainingError) as error:
        return GateDecision(promoted=False, reason=str(error))


def _judge_once(registry: Registry, alias: str, request: JobRequest, version: int, rules: GatePolicy) -> GateDecision:
    """Judge against what the alias means now. Raises PreconditionFailed when that changes before the promotion."""
    generation = registry.generation(request.model, alias)  # first: what comes after this look is noticed
    history = registry.history(request.model, alias, limit=_LOOKED_BACK)
    if done := next((state for state in history if state.version == version), None):
        return GateDecision(promoted=True, reason=done.reason)  # before we were cut off; others may have promoted since
    found = Comparison(True, "promoted without comparison", {})
    if request.promote == "if_better":
        found = compare(registry, history[0].version if history else None, request, version, rules)
    if found.passes:
        registry.promote(request.model, alias, version, expected_generation=generation, reason=found.reason)
    return GateDecision(found.passes, found.reason, found.figures)


def save_decision(registry: Registry, name: str, version: int, verdict: dict[str, Any]) -> None:
    """Write it; judging again writes it again. Raises Unavailable."""
    registry.store.put(_key(registry, name, version), json.dumps(verdict).encode())


def load_decision(registry: Registry, name: str, version: int) -> dict[str, Any] | None:
    """Read it; None for a version that no job has made, or whose verdict cannot be read. Raises Unavailable."""
    key = _key(registry, name, version)
    try:
        with registry.store.damaged.track(key, ValueError):
            return read_object(registry.store.get(key))
    except (FileNotFoundError, ValueError):
        return None


def _key(registry: Registry, name: str, version: int) -> str:
    return f"{registry.version_prefix(name, version)}/verdict.json"
