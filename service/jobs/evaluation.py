"""Evaluation of versions on held-out examples: computed on request, in the background, and cached.

All versions with the labels of a published data set are evaluated on the same examples, so that their errors can be
compared: the test examples of that set if its files are on this host; for digits otherwise the examples that the recipe
`starter` holds out of the bundled set. A version with other labels is evaluated on what its own recipe holds out.
Nothing is downloaded.
"""

import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from service.errors import NotFound, Unavailable, UnprocessableContent
from service.jobs.datasets import resolve
from service.jobs.leakage import exclude_seen, recipe_from_manifest
from service.registry.manifest import Manifest
from service.registry.registry import Registry
from service.serving.model import ServingModel, load_and_warm
from training import Dataset, TrainingError, recipes
from training.data import load_dataset, published_sets
from training.data.dataset import DIGITS
from training.evaluation.metrics import accuracy, confusion_matrix, expected_calibration_error
from training.recipes.experiment import load_splits
from training.types import Floats, Labels

MAX_EXAMPLES = 10_000
_BATCH_SIZE = 256
_CACHE_SIZE = 12  # evaluations on one data set share its images, 8 MB at most
_WAIT_SECONDS = 4.0  # two of them are less than a request may take
_MAX_CONCURRENT = 2
_MAX_RUNNING = 16


@dataclass(frozen=True)
class Evaluation:
    """The predictions of one version for labelled examples, with its temperature applied."""

    examples: Dataset
    predicted: Labels
    """The predicted class of each example."""
    confidences: Floats
    accuracy: float
    calibration_error: float
    caveat: str | None = None
    """Why the metrics may be too good."""

    @cached_property
    def correct(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Whether each example was predicted correctly."""
        return np.asarray(self.predicted == self.examples.labels)

    @cached_property
    def wrong(self) -> Labels:
        """The rows that were predicted wrongly, by falling confidence."""
        rows = np.flatnonzero(~self.correct)
        return rows[np.argsort(-self.confidences[rows], kind="stable")]

    def is_comparable(self, other: "Evaluation") -> bool:
        """Return whether both evaluations are of the same examples."""
        mine, theirs = self.examples, other.examples
        return mine is theirs or (mine.classes == theirs.classes and mine.fingerprint() == theirs.fingerprint())

    @property
    def confusion(self) -> Labels:
        """The confusion matrix, (true classes, predicted classes)."""
        return confusion_matrix(self.predicted, self.examples.labels, len(self.examples.classes))


def evaluate_model(model: ServingModel, examples: Dataset, caveat: str | None = None) -> Evaluation:
    """Evaluate a model on labelled examples, as it would serve them."""
    batches = (examples.images[i : i + _BATCH_SIZE] for i in range(0, max(len(examples), 1), _BATCH_SIZE))
    probabilities = np.concatenate([model.predict(batch) for batch in batches])
    return Evaluation(
        examples=examples,
        predicted=probabilities.argmax(axis=1),
        confidences=probabilities.max(axis=1),
        accuracy=accuracy(probabilities, examples.labels),
        calibration_error=expected_calibration_error(probabilities, examples.labels),
        caveat=caveat,
    )


@cache
def golden_set() -> Dataset:
    """Return the most typical digit of each class in the starter set: the one nearest to the mean of its class."""
    starter = load_dataset("starter").train
    rows = []
    for label in range(len(starter.classes)):
        members = np.flatnonzero(starter.labels == label)
        images = starter.images[members].reshape(len(members), -1).astype(np.float32)
        rows.append(members[((images - images.mean(axis=0)) ** 2).sum(axis=1).argmin()])
    return starter.select(np.array(rows))


class StillEvaluatingError(Exception):
    """The evaluation takes longer than a request may; try again."""


_Key = tuple[str, int, str, str]


class EvaluationCache:
    """The evaluations of the versions in a registry."""

    def __init__(self, registry: Registry, datasets_dir: Path | None) -> None:
        """Start empty."""
        self._registry, self._datasets_dir = registry, datasets_dir
        self._lock = threading.Lock()  # guards the next two
        self._cache: OrderedDict[_Key, Evaluation] = OrderedDict()
        self._running: dict[_Key, Future[Evaluation]] = {}
        """Running evaluations, and failed ones whose error was not yet raised to a caller."""
        self._slots = threading.Semaphore(_MAX_CONCURRENT)  # leaves cores free for predictions

    def get(self, name: str, version: int) -> Evaluation:
        """Return a version's evaluation. The first call starts it in a thread that continues if the caller gives up.

        Raises StillEvaluatingError after four seconds, NotFound for an unknown version or if there are no suitable
        held-out examples, CorruptModel, and Unavailable if too many evaluations are running.
        """
        manifest = self._registry.manifest(name, version)
        source = _source(manifest)
        key = (name, version, manifest.weights_sha256, source)
        with self._lock:
            if cached := self._cache.get(key):
                self._cache.move_to_end(key)
                return cached
            future = self._running.get(key) or self._start(key, manifest, source)
        try:
            return future.result(_WAIT_SECONDS)
        except TimeoutError:
            raise StillEvaluatingError from None
        except (TrainingError, UnprocessableContent):
            raise NotFound("the examples that were held out from this version are not here") from None
        finally:
            if future.done():  # an error was raised: the next call tries again
                with self._lock:
                    self._running.pop(key, None)

    def _start(self, key: _Key, manifest: Manifest, source: str) -> "Future[Evaluation]":
        running = [future for future in self._running.values() if not future.done()]
        if len(running) >= _MAX_RUNNING:
            raise Unavailable("too many versions are being evaluated", retry_after_seconds=10)
        if len(self._running) - len(running) >= _CACHE_SIZE:
            self._running = {key: future for key, future in self._running.items() if not future.done()}
        future = self._running[key] = Future[Evaluation]()
        threading.Thread(target=self._run, args=(future, key, manifest, source), daemon=True).start()
        return future

    def _run(self, future: "Future[Evaluation]", key: _Key, manifest: Manifest, source: str) -> None:
        try:
            with self._slots:
                evaluation = self._evaluate(manifest, source)
        except BaseException as error:
            future.set_exception(error)
            return
        with self._lock:
            self._cache[key] = evaluation
            if len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)
            self._running.pop(key, None)
        future.set_result(evaluation)

    def _evaluate(self, manifest: Manifest, source: str) -> Evaluation:
        with self._lock:
            opened = iter([cached.examples for key, cached in self._cache.items() if key[-1] == source])
        examples = next(opened, None) or self._open(manifest, source)
        if examples.classes != manifest.labels:
            raise NotFound("no held-out examples here have the labels of this version")
        model = load_and_warm(self._registry.load(manifest.name, manifest.version))
        return evaluate_model(model, examples, self._caveat(manifest, examples))

    def _open(self, manifest: Manifest, source: str) -> Dataset:
        if source in published_sets.PUBLISHED:
            examples = load_dataset(source).test
        elif source == "starter":
            examples = load_splits(recipes.get("starter")).final_test
        else:
            recipe = recipe_from_manifest(manifest)
            if (published := published_sets.PUBLISHED.get(recipe.data.data)) and not published_sets.find_folder(
                published
            ):
                raise NotFound(f"the files of {published.name} are not here")
            examples = load_splits(recipe.replace(data=resolve(recipe.data.data, self._datasets_dir))).final_test
        if not examples:
            raise NotFound("nothing was held out from this version")
        return examples.select(np.arange(min(len(examples), MAX_EXAMPLES)))

    def _caveat(self, manifest: Manifest, examples: Dataset) -> str | None:
        remaining = exclude_seen(examples, self._registry, manifest, self._datasets_dir)
        if remaining is None:
            return "it may have learned from some of them"
        seen = len(examples) - len(remaining)
        return f"it has learned from {seen:,} of them" if seen else None


def _source(manifest: Manifest) -> str:
    """Name the examples that a version is evaluated on; a published set only if its files are on this host."""
    for name, published in published_sets.PUBLISHED.items():
        if manifest.labels == published.classes and published_sets.find_folder(published):
            return name
    return "starter" if manifest.labels == DIGITS else f"of {manifest.name} {manifest.version}"
