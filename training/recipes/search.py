"""Hyperparameter search: grid or random search over the settings of a recipe.

A space maps settings to choices, `{"layers": [[784, 32, 10], [784, 128, 10]], "optimizer": ["sgd", "adam"]}`, or to
ranges, `{"learning_rate": {"low": 1e-4, "high": 0.01, "log": true}}`. Results are appended to a file, one JSON object
per line. Trials that it contains are not run again, so a search can be resumed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.errors import ConfigError, DataError, DivergedError
from training.fit.history import best_epoch
from training.recipes.config import Recipe
from training.recipes.experiment import Experiment
from training.stored import restored

Space = Mapping[str, Any]
Settings = dict[str, Any]

MAX_TRIALS = 10_000
_MAX_CORNERS = 1024
_RANGE = {"low", "high", "log", "int"}
_ADDED = ("skip_unreadable",)
"""Settings added after the first release; left out of keys at their default, so that its results are found."""
_BEGINNING = b'{"key": '  # of every line


@dataclass(frozen=True)
class Trial:
    """The result of one choice of settings."""

    key: str
    """Hash of all settings of the recipe."""
    settings: Settings
    """The settings that were varied."""
    accuracy: float | None
    """Validation accuracy; None if training diverged."""
    loss: float | None
    epochs: int
    seconds: float
    failure: str | None = None
    """Reason for a missing result."""

    @property
    def sort_key(self) -> tuple[float, float]:
        """Sorts by descending accuracy, then by loss; failures come last."""
        return -(self.accuracy or 0.0), math.inf if self.loss is None else self.loss


def grid(recipe: Recipe, space: Space) -> list[Settings]:
    """Return all combinations of choices; the last setting varies fastest.

    Raises ConfigError, naming the setting, for ranges and invalid settings.
    """
    for name, choices in _checked(space).items():
        if isinstance(choices, Mapping):
            raise ConfigError(f"a grid needs a list of choices for {name}, not a range", field=name)
    count = math.prod(len(choices) for choices in space.values())
    if count > MAX_TRIALS:
        raise ConfigError(f"the grid has {count:,} trials; at most {MAX_TRIALS:,} are taken", field="space")
    trials = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    return _possible(recipe, trials)


def sample_settings(recipe: Recipe, space: Space, trials: int, seed: int = 0) -> list[Settings]:
    """Sample `trials` different settings, reproducibly by seed (Bergstra and Bengio 2012); fewer if there are no more.

    Raises ConfigError, naming the setting, like `grid`.
    """
    if isinstance(trials, bool) or not isinstance(trials, int) or not 1 <= trials <= MAX_TRIALS:
        raise ConfigError(f"trials must be a whole number from 1 to {MAX_TRIALS:,}, not {trials!r}", field="trials")
    rng, space = np.random.default_rng(seed), _checked(space)
    _check_ends(recipe, space)
    drawn: dict[str, Settings] = {}
    for _ in range(100 * trials):
        settings = {name: _sample(choices, rng) for name, choices in space.items()}
        drawn.setdefault(json.dumps(settings), settings)
        if len(drawn) == trials:
            break
    return _possible(recipe, list(drawn.values()))


def search(recipe: Recipe, trials: Sequence[Settings], results: Path) -> Iterator[Trial]:
    """Yield the results of the trials in order, from the file `results` or by running them.

    Raises what `Experiment` raises, and DataError if `results` is damaged. A trial that diverges is a result.
    """
    done = {trial.key: trial for trial in read(results)}
    for settings in trials:
        tried = recipe.replace(**settings)
        key = _key(tried)
        if key not in done:
            done[key] = _run(tried, key, settings)
            _append(results, done[key])
        yield done[key]


def rank_trials(trials: Sequence[Trial]) -> list[Trial]:
    """Sort by validation accuracy, best first, and equal ones by loss."""
    return sorted(trials, key=lambda trial: trial.sort_key)


def read(results: Path) -> list[Trial]:
    """Read a file of results, ignoring an incomplete last line. Raises DataError that names the line."""
    if not results.exists():
        return []
    lines = results.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n") and _BEGINNING.startswith(lines[-1][: len(_BEGINNING)]):
        lines.pop()
    trials = []
    for number, line in enumerate(lines, start=1):
        try:
            trials.append(restored(Trial, json.loads(line), "the trial"))
        except (TypeError, ValueError) as error:
            raise DataError(f"line {number} of {results} is not the result of a trial: {error}") from error
    return trials


def _checked(space: Space) -> Space:
    """Validate a search space."""
    if not isinstance(space, Mapping) or not space:
        raise ConfigError("a space must name at least one setting and what it may be", field="space")
    for name, choices in space.items():
        if isinstance(choices, Mapping):
            _check_range(name, choices)
        elif not isinstance(choices, list | tuple) or not choices:
            raise ConfigError(f"{name} must have a list of choices or a range of low and high", field=name)
    return space


def _check_range(name: str, choices: Mapping[str, Any]) -> None:
    low: Any = choices.get("low")
    high: Any = choices.get("high")
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    if not numbers or not set(choices) <= _RANGE or not -math.inf < low < high < math.inf:
        raise ConfigError(f"the range of {name} must have numbers low < high, and may have log and int", field=name)
    if choices.get("log") and low <= 0:
        raise ConfigError(f"the range of {name} goes by logarithms, so low must be above 0", field=name)
    if choices.get("int") and not (isinstance(low, int) and isinstance(high, int)):
        raise ConfigError(f"the range of {name} is of whole numbers, so low and high must be whole", field=name)


def _sample(choices: Any, rng: np.random.Generator) -> Any:
    if not isinstance(choices, Mapping):
        return choices[int(rng.integers(len(choices)))]
    low, high, whole = choices["low"], choices["high"], choices.get("int")
    # Half a step more at both ends, so that after rounding all values are equally likely.
    bottom, top = (low - 0.5, high + 0.5) if whole and not choices.get("log") else (low, high)
    if choices.get("log"):
        drawn = math.exp(rng.uniform(math.log(bottom), math.log(top)))
    else:
        drawn = float(rng.uniform(bottom, top))
    return min(max(round(drawn), low), high) if whole else min(max(drawn, low), high)


def _check_ends(recipe: Recipe, space: Space) -> None:
    """Refuse ranges with invalid ends, even if no trial comes near them."""
    names = [name for name, choices in space.items() if isinstance(choices, Mapping)]
    base = {name: choices[0] for name, choices in space.items() if name not in names}
    corners = itertools.product(*((space[name]["low"], space[name]["high"]) for name in names))
    for corner in itertools.islice(corners, _MAX_CORNERS):
        recipe.replace(**base | dict(zip(names, corner, strict=True)))


def _possible(recipe: Recipe, trials: list[Settings]) -> list[Settings]:
    """Refuse the whole search if one of its trials cannot run or has no validation."""
    for settings in trials:
        if not recipe.replace(**settings).fit.validation_share:
            raise ConfigError("a search needs a validation_share above 0 to choose by", field="validation_share")
    return trials


def _key(recipe: Recipe) -> str:
    defaults = Recipe("", "").to_flat_dict()
    named = {n: value for n, value in recipe.to_flat_dict().items() if n not in _ADDED or value != defaults[n]}
    settings = json.dumps(named, sort_keys=True)
    return hashlib.sha256(settings.encode()).hexdigest()[:16]


def _run(recipe: Recipe, key: str, settings: Settings) -> Trial:
    experiment, failure = Experiment(recipe), None
    try:
        for _ in experiment.epochs():
            pass
    except DivergedError as error:
        failure = str(error)
    history = experiment.run.history
    seconds = sum(epoch.seconds for epoch in history)
    judged = best_epoch(history) if recipe.fit.keep_best else next((e for e in reversed(history) if e.validation), None)
    if failure or not judged:
        return Trial(key, settings, None, None, len(history), seconds, failure or "it ended before a validation")
    return Trial(key, settings, judged.monitored.accuracy, judged.monitored.loss, len(history), seconds)


def _append(results: Path, trial: Trial) -> None:
    """Append a line, replacing an incomplete one."""
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a+b") as file:
        file.seek(0)
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
        file.write(json.dumps(asdict(trial)).encode() + b"\n")
