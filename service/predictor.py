"""What answers: an immutable snapshot of one model version, swapped for a better one between two requests."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from service.errors import CorruptModel, NotFound, ServiceError, Unavailable
from service.manifest import LoadedModel
from service.registry import Registry
from training import MLP
from training.arrays import Floats, Pixels
from training.evaluation import class_probabilities

log = logging.getLogger(__name__)

_CACHED_VERSIONS = 4


@dataclass(frozen=True)
class Snapshot:
    """One version, loaded and warm. Never changed; a promotion makes a new one."""

    model: str
    version: int
    labels: tuple[str, ...]
    network: MLP
    temperature: float
    generation: int = 0
    """Of the alias that led here; 0 when the version was asked for by number."""

    def probabilities(self, glyphs: Pixels) -> Floats:
        """Read glyphs, uint8 (n, 28, 28): one row of probabilities each, in the order of the labels."""
        probabilities = class_probabilities(self.network, self.network.config.input.features(glyphs))
        if self.temperature == 1:
            return probabilities
        # Softmax at a temperature, from probabilities: p^(1/T), normalised (Guo et al. 2017).
        powers = np.power(np.maximum(probabilities, np.finfo(np.float32).tiny), 1 / self.temperature)
        scaled: Floats = powers / powers.sum(axis=1, keepdims=True)
        return scaled


class Predictor:
    """Holds the snapshots that answer, and follows the aliases they come from."""

    def __init__(self, registry: Registry, model: str, alias: str, on_swap: Callable[[Snapshot], None]) -> None:
        """Nothing is loaded yet: `follow` does that. `on_swap` hears of each new serving snapshot."""
        self._registry, self._model, self._alias, self._on_swap = registry, model, alias, on_swap
        self._serving: Snapshot | None = None
        self._versions: OrderedDict[tuple[str, int], Snapshot] = OrderedDict()
        self._lock = threading.Lock()
        self.trouble: str | None = None
        """Why the alias could not be followed the last time; the old snapshot goes on serving."""

    @property
    def serving(self) -> Snapshot:
        """The snapshot for requests that name no version. Raises Unavailable before the first is loaded."""
        if self._serving is None:
            raise Unavailable("no model is loaded yet", retry_after_seconds=1)
        return self._serving

    def choose(self, request_id: str) -> Snapshot:  # noqa: ARG002 -- a canary will choose by it
        """Choose the snapshot for a request that names no version. Raises Unavailable before the first is loaded."""
        return self.serving

    def follow(self) -> None:
        """Load what the alias means now, if that has changed. Blocks; call it off the event loop.

        A version that cannot be loaded leaves the old one serving, and is told in `trouble`.
        """
        with self._lock:
            try:
                state = self._registry.alias(self._model, self._alias)
                if self._serving is None or state.generation != self._serving.generation:
                    self._serve(self._load(self._model, state.version, state.generation))
                self.trouble = None
            except ServiceError as error:
                self._tell(error.detail)
                self._fall_back()
            except Exception as error:  # whatever it is, the old snapshot goes on serving and the next poll tries again
                log.exception("following the alias failed")
                self._tell(f"following the alias failed: {type(error).__name__}")

    def _fall_back(self) -> None:
        """With nothing to serve at all, serve the newest version that the alias meant before and that still loads."""
        if self._serving is not None:
            return
        try:
            for state in self._registry.history(self._model, self._alias):
                try:
                    self._serve(self._load(self._model, state.version, state.generation))
                except (CorruptModel, NotFound):
                    continue
                return
        except ServiceError:
            return  # the store is out of reach; it will be asked again

    def _serve(self, fresh: Snapshot) -> None:
        self._serving = fresh
        self._on_swap(fresh)
        log.info("serving %s version %d", fresh.model, fresh.version)

    def snapshot(self, model: str | None = None, version: int | None = None, alias: str | None = None) -> Snapshot:
        """Find the snapshot for a request; loads it when it is not at hand, so it may block.

        Raises NotFound for what does not exist, CorruptModel for what cannot be trusted.
        """
        model = model or self._model
        if version is None and model == self._model and alias in (None, self._alias):
            return self.serving
        if version is None:
            version = self._registry.alias(model, alias or self._alias).version
        serving = self._serving
        if serving and (model, version) == (serving.model, serving.version):
            return serving
        with self._lock:
            key = (model, version)
            if key not in self._versions:
                self._versions[key] = self._load(model, version, generation=0)
                if len(self._versions) > _CACHED_VERSIONS:
                    self._versions.popitem(last=False)
            self._versions.move_to_end(key)
            return self._versions[key]

    def _load(self, model: str, version: int, generation: int) -> Snapshot:
        fresh = _snapshot(self._registry.load(model, version), generation)
        warm = fresh.probabilities(np.zeros((1, 28, 28), np.uint8))
        if not np.isfinite(warm).all():
            raise CorruptModel(f"{model} version {version} answers with numbers that are not finite")
        return fresh

    def _tell(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.error("the alias cannot be followed: %s", trouble)
        self.trouble = trouble


def _snapshot(loaded: LoadedModel, generation: int) -> Snapshot:
    manifest = loaded.manifest
    return Snapshot(manifest.name, manifest.version, manifest.labels, loaded.network, manifest.temperature, generation)
