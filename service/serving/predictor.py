"""Model versions in memory: the serving version, a candidate next to it, and a cache of others."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from service.errors import ServiceError, Unavailable
from service.registry.aliases import AliasEntry, Candidate
from service.registry.registry import Registry
from service.serving.candidate import CandidateRollout, lower_priority
from service.serving.model import ServingModel, load_and_warm
from training.types import Pixels

log = logging.getLogger(__name__)

_CACHE_SIZE = 4
_MAX_LOADERS = 8  # a store that does not respond may block some of them


class Predictor:
    """Serves the version that an alias points to, and loads other versions on request.

    Models are immutable; a promotion replaces the serving model between two requests.
    """

    def __init__(self, registry: Registry, model: str, alias: str, on_reload: Callable[[ServingModel], None]) -> None:
        """Load nothing until `refresh`. `on_reload` is called with each new serving model."""
        self._registry, self._model, self._alias, self._on_reload = registry, model, alias, on_reload
        self._serving: ServingModel | None = None
        self._candidate: ServingModel | None = None
        self._rollout: CandidateRollout | None = None
        self._models: OrderedDict[tuple[str, int], ServingModel] = OrderedDict()
        self._lock, self._loading, self._cache_lock = threading.Lock(), threading.Lock(), threading.Lock()
        self._loader = ThreadPoolExecutor(_MAX_LOADERS, "loading", lower_priority)
        self.last_error: str | None = None
        """Why the last refresh failed; the previous model keeps serving."""
        self.candidate_error: str | None = None
        """Why the candidate of the alias could not be loaded; the version of the alias serves regardless."""

    @property
    def serving(self) -> ServingModel:
        """The model for requests that name no version. Raises Unavailable before the first is loaded."""
        if self._serving is None:
            raise Unavailable("no model is loaded yet", retry_after_seconds=1)
        return self._serving

    @property
    def rollout(self) -> CandidateRollout | None:
        """The running rollout of a candidate."""
        return self._rollout

    def route(self, request_id: str) -> ServingModel:
        """Return the model for a request that names no version: the serving model, or a canary for its share.

        Raises Unavailable before the first is loaded.
        """
        rollout = self._rollout  # read once: another thread may stop it
        if rollout is not None:
            return rollout.route(request_id)
        return self._serving or self.serving

    def mirror(self, request_id: str, model: ServingModel, glyphs: Pixels, labels: Sequence[str]) -> None:
        """Report the labels that `model`, as returned by `route`, predicted, for comparison with the other version.

        Call it after the response; it never blocks. The glyphs, uint8 (n, 28, 28), are copied if needed.
        """
        rollout = self._rollout
        if rollout is not None:
            rollout.mirror(request_id, model, glyphs, labels)

    def refresh(self) -> None:
        """Load the version that the alias points to, if it has changed. Blocks; call it off the event loop.

        If a version cannot be loaded, the previous one keeps serving and `last_error` says why.
        """
        with self._lock:
            try:
                entry = self._registry.alias(self._model, self._alias)
                if self._serving is None or entry.generation != self._serving.generation:
                    self._set_serving(entry)
                self.last_error = None
                self._start_rollout(entry.candidate)
            except ServiceError as error:
                self._record_error(error.detail)
                self._fall_back()
            except Exception as error:  # of any kind: the previous model keeps serving and the next refresh retries
                log.exception("refreshing the alias failed")
                self._record_error(f"refreshing the alias failed: {type(error).__name__}")
                self._fall_back()

    def _fall_back(self) -> None:
        """If nothing is serving, serve the newest version in the alias's history that can be loaded."""
        if self._serving is not None:
            return
        try:
            for entry in self._registry.iterate_history(self._model, self._alias):
                try:
                    self._set_serving(entry)
                except Unavailable:
                    raise
                except Exception as error:  # of any kind: an older version may load
                    log.error("cannot load version %d: %s", entry.version, error)
                    continue
                return
        except ServiceError:
            return  # the store is unavailable; the next refresh retries

    def _set_serving(self, entry: AliasEntry) -> None:
        """Serve the version of an alias entry; stop a rollout of an earlier entry."""
        previous, current = self._serving, self._loaded(entry.version, entry.generation)
        self._serving = current
        self._stop_rollout()
        if previous is None or previous.version != current.version:
            if previous:
                self._cache(replace(previous, generation=0))  # for a rollback
            self._on_reload(current)
            log.info("serving %s version %d", current.model, current.version)

    def _start_rollout(self, candidate: Candidate | None) -> None:
        """Start the rollout of the alias entry unless it is running; record a failure and retry at the next refresh."""
        if candidate is None:
            self._candidate = self.candidate_error = None
        elif self._rollout is None:
            try:
                self._candidate = self._loaded(candidate.version, self.serving.generation)
                self._rollout = CandidateRollout(self.serving, self._candidate, candidate.share, candidate.mode)
                self.candidate_error = None
                log.info("version %d runs as a %s", candidate.version, candidate.mode)
            except Exception as error:  # of any kind: the serving version is not affected
                detail = error.detail if isinstance(error, ServiceError) else type(error).__name__
                if detail != self.candidate_error:
                    log.error("cannot start the rollout of the candidate: %s", detail)
                self.candidate_error = detail

    def _loaded(self, version: int, generation: int) -> ServingModel:
        """Return the serving model or the candidate if it has this version; otherwise load and verify it."""
        for model in (self._serving, self._candidate):
            if model and model.version == version:
                return replace(model, generation=generation)
        return replace(self.reload(self._model, version), generation=generation)

    def _stop_rollout(self) -> None:
        rollout, self._rollout = self._rollout, None
        if rollout:
            rollout.stop()

    def close(self) -> None:
        """Stop a running rollout."""
        with self._lock:
            self._stop_rollout()

    def get(self, name: str | None = None, version: int | None = None, alias: str | None = None) -> ServingModel:
        """Return the model for a request, loaded if it is not in memory; may block.

        Raises NotFound, or CorruptModel if verification fails.
        """
        name = name or self._model
        if version is None and name == self._model and alias in (None, self._alias):
            return self.serving
        if version is None:
            version = self._registry.alias(name, alias or self._alias).version
        serving = self._serving
        if serving and (name, version) == (serving.model, serving.version):
            return serving
        if cached := self._cached(name, version):
            return cached
        with self._loading:  # not the lock of `refresh`, which a store that does not respond may hold for seconds
            return self._cached(name, version) or self.reload(name, version)

    def reload(self, name: str, version: int) -> ServingModel:
        """Verify a version in the store even if it is in memory, and cache it.

        Blocks. Raises NotFound, or CorruptModel if verification fails.
        """
        known = self._serving if name == self._model else None
        if not known or known.version != version:
            known = self._cached(name, version)
        if known and known.manifest == (manifest := self._registry.manifest(name, version)):
            self._loader.submit(self._registry.weights, manifest).result()
            return known
        model = self._loader.submit(lambda: load_and_warm(self._registry.load(name, version))).result()
        self._cache(model)
        return model

    def evict(self, name: str) -> None:
        """Remove a model's versions from the cache; the serving version and a candidate stay in memory."""
        with self._cache_lock:
            for key in [key for key in self._models if key[0] == name]:
                del self._models[key]

    def _cache(self, model: ServingModel) -> None:
        with self._cache_lock:
            self._models[model.model, model.version] = model
            if len(self._models) > _CACHE_SIZE:
                self._models.popitem(last=False)

    def _cached(self, name: str, version: int) -> ServingModel | None:
        with self._cache_lock:
            if (name, version) in self._models:
                self._models.move_to_end((name, version))
            return self._models.get((name, version))

    def _record_error(self, detail: str) -> None:
        if detail != self.last_error:
            log.error("cannot refresh the alias: %s", detail)
        self.last_error = detail
