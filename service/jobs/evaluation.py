"""How versions read examples that were held out: worked out when somebody asks, and remembered.

All versions with the labels of a published set are held against the same examples, so that their misreadings can be
compared: the set's own test examples where its files are here, else, for digits, those that the recipe `starter` holds
out of the bundled set. A version with other labels is held against what its own recipe holds out. Nothing is
downloaded.
"""

import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from service.errors import InvalidInput, NotFound, Unavailable
from service.jobs.datasets import resolve
from service.jobs.leakage import exclude_seen, recipe_from_manifest
from service.registry.manifest import Manifest
from service.registry.registry import Registry
from service.serving.model import ServingModel, load_and_warm
from training import Dataset, TrainingError, recipes
from training.arrays import Floats, Labels
from training.data import mnist, open_source
from training.data.dataset import DIGITS
from training.experiment import split
from training.metrics import calibration_error, confusion_matrix

MOST_EXAMPLES = 10_000
_CHUNK = 256
_REMEMBERED = 12  # those of one set share its pictures, 8 MB at most
_PATIENCE_SECONDS = 4.0  # two of them are less than a request may take
_AT_ONCE = 2
_MOST_RUNNING = 16


@dataclass(frozen=True)
class Evaluation:
    """What one version makes of the held-out examples, as it would answer."""

    examples: Dataset
    answers: Labels
    """The class that each example was taken for."""
    confidences: Floats
    calibration_error: float
    caveat: str | None
    """Why the figures may flatter the version."""

    @property
    def accuracy(self) -> float:
        """The share that was read right."""
        return float(np.mean(self.answers == self.examples.labels))

    @cached_property
    def wrong(self) -> Labels:
        """The rows that were misread, those of which the version was most sure first."""
        rows = np.flatnonzero(self.answers != self.examples.labels)
        return rows[np.argsort(-self.confidences[rows], kind="stable")]

    def is_comparable(self, other: "Evaluation") -> bool:
        """Tell whether both versions were held against the same examples."""
        mine, theirs = self.examples, other.examples
        return mine is theirs or (mine.classes == theirs.classes and mine.fingerprint() == theirs.fingerprint())

    @property
    def confusion(self) -> Labels:
        """Count (truth, answer) pairs; (classes, classes)."""
        return confusion_matrix(self.answers, self.examples.labels, len(self.examples.classes))


class StillEvaluatingError(Exception):
    """It is being worked out, which takes longer than a request may; ask again."""


_Key = tuple[str, int, str, str]


class EvaluationCache:
    """The evaluations of the versions in a registry."""

    def __init__(self, registry: Registry, datasets_dir: Path | None) -> None:
        """Nothing is worked out before it is asked for."""
        self._registry, self._datasets_dir = registry, datasets_dir
        self._lock = threading.Lock()  # of the two below
        self._done: OrderedDict[_Key, Evaluation] = OrderedDict()
        self._working: dict[_Key, Future[Evaluation]] = {}
        """Those that are being worked out, and those that failed and whose error nobody has heard."""
        self._turns = threading.Semaphore(_AT_ONCE)  # the cores are for those who want predictions

    def get(self, name: str, version: int) -> Evaluation:
        """Give a version's evaluation. The first time it is worked out, in a thread that goes on without the caller.

        Raises StillEvaluatingError after four seconds, NotFound for an unknown version and where no held-out examples
        fit, CorruptModel, Unavailable when too many are asked for at once.
        """
        manifest = self._registry.manifest(name, version)
        source = _source(manifest)
        key = (name, version, manifest.weights_sha256, source)
        with self._lock:
            if found := self._done.get(key):
                self._done.move_to_end(key)
                return found
            working = self._working.get(key) or self._begin(key, manifest, source)
        try:
            return working.result(_PATIENCE_SECONDS)
        except TimeoutError:
            raise StillEvaluatingError from None
        except (TrainingError, InvalidInput):
            raise NotFound("the examples that were held out from this version are not here") from None
        finally:
            if working.done():  # an error was heard: who asks again has it tried again
                with self._lock:
                    self._working.pop(key, None)

    def _begin(self, key: _Key, manifest: Manifest, source: str) -> "Future[Evaluation]":
        running = [future for future in self._working.values() if not future.done()]
        if len(running) >= _MOST_RUNNING:
            raise Unavailable("many other versions are being evaluated", retry_after_seconds=10)
        if len(self._working) - len(running) >= _REMEMBERED:
            self._working = {each: future for each, future in self._working.items() if not future.done()}
        future = self._working[key] = Future[Evaluation]()
        threading.Thread(target=self._run, args=(future, key, manifest, source), daemon=True).start()
        return future

    def _run(self, future: "Future[Evaluation]", key: _Key, manifest: Manifest, source: str) -> None:
        try:
            with self._turns:
                found = self._work_out(manifest, source)
        except BaseException as error:
            future.set_exception(error)
            return
        with self._lock:
            self._done[key] = found
            if len(self._done) > _REMEMBERED:
                self._done.popitem(last=False)
            self._working.pop(key, None)
        future.set_result(found)

    def _work_out(self, manifest: Manifest, source: str) -> Evaluation:
        with self._lock:
            known = iter([done.examples for (_, _, _, of), done in self._done.items() if of == source])
        examples = next(known, None) or self._open(manifest, source)
        if examples.classes != manifest.labels:
            raise NotFound("no held-out examples here have the labels of this version")
        snapshot = load_and_warm(self._registry.load(manifest.name, manifest.version))
        probabilities = _read(snapshot, examples)
        return Evaluation(
            examples=examples,
            answers=probabilities.argmax(axis=1),
            confidences=probabilities.max(axis=1),
            calibration_error=calibration_error(probabilities, examples.labels),
            caveat=self._caveat(manifest, examples),
        )

    def _open(self, manifest: Manifest, source: str) -> Dataset:
        if source in mnist.PUBLISHED:
            examples = open_source(source).test
        elif source == "starter":
            examples = split(recipes.get("starter")).held_out
        else:
            recipe = recipe_from_manifest(manifest)
            if (published := mnist.PUBLISHED.get(recipe.data.data)) and not mnist.find_folder(published):
                raise NotFound(f"the files of {published.name} are not here")
            examples = split(recipe.replace(data=resolve(recipe.data.data, self._datasets_dir))).held_out
        if not examples:
            raise NotFound("nothing was held out from this version")
        return examples.take(np.arange(min(len(examples), MOST_EXAMPLES)))

    def _caveat(self, manifest: Manifest, examples: Dataset) -> str | None:
        left = exclude_seen(examples, self._registry, manifest, self._datasets_dir)
        if left is None:
            return "it may have learned from some of them"
        return f"it has learned from {len(examples) - len(left):,} of them" if len(left) < len(examples) else None


def _source(manifest: Manifest) -> str:
    """Name what a version is held against; a published set only where its files are here."""
    for name, published in mnist.PUBLISHED.items():
        if manifest.labels == published.classes and mnist.find_folder(published):
            return name
    return "starter" if manifest.labels == DIGITS else f"of {manifest.name} {manifest.version}"


def _read(snapshot: ServingModel, examples: Dataset) -> Floats:
    chunks = (examples.images[start : start + _CHUNK] for start in range(0, len(examples), _CHUNK))
    return np.concatenate([snapshot.predict(chunk) for chunk in chunks])
