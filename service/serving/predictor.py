"""What answers: an immutable snapshot of one model version, swapped for a better one between two requests."""

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
from training.arrays import Pixels

log = logging.getLogger(__name__)

_CACHE_SIZE = 4
_LOADERS = 8  # a store that is silent may hold some of them up


class Predictor:
    """Holds the snapshots that answer, and follows the aliases they come from."""

    def __init__(self, registry: Registry, model: str, alias: str, on_reload: Callable[[ServingModel], None]) -> None:
        """Nothing is loaded yet: `refresh` does that. `on_reload` hears of each new serving snapshot."""
        self._registry, self._model, self._alias, self._on_reload = registry, model, alias, on_reload
        self._serving: ServingModel | None = None
        self._candidate: ServingModel | None = None
        self._rollout: CandidateRollout | None = None
        self._models: OrderedDict[tuple[str, int], ServingModel] = OrderedDict()
        self._lock, self._loading, self._cache_lock = threading.Lock(), threading.Lock(), threading.Lock()
        self._loader = ThreadPoolExecutor(_LOADERS, "loading", lower_priority)
        self.last_error: str | None = None
        """Why the alias could not be followed the last time; the old snapshot goes on serving."""
        self.candidate_error: str | None = None
        """Why the candidate of the alias is not on rollout; the alias's own version serves all the same."""

    @property
    def serving(self) -> ServingModel:
        """The snapshot for requests that name no version. Raises Unavailable before the first is loaded."""
        if self._serving is None:
            raise Unavailable("no model is loaded yet", retry_after_seconds=1)
        return self._serving

    @property
    def rollout(self) -> CandidateRollout | None:
        """The rollout of a candidate that goes on now."""
        return self._rollout

    def route(self, request_id: str) -> ServingModel:
        """Choose the snapshot for a request that names no version: the serving one, or a canary on its share.

        Raises Unavailable before the first is loaded.
        """
        rollout = self._rollout  # looked at once: another thread may end it
        if rollout is not None:
            return rollout.route(request_id)
        return self._serving or self.serving

    def mirror(self, request_id: str, snapshot: ServingModel, glyphs: Pixels, labels: Sequence[str]) -> None:
        """Tell what `snapshot`, as `route` gave it, has answered: during a rollout the other version reads it, too.

        To be called once the answer is made; it never waits. The glyphs, uint8 (n, 28, 28), are copied if needed.
        """
        rollout = self._rollout
        if rollout is not None:
            rollout.mirror(request_id, snapshot, glyphs, labels)

    def refresh(self) -> None:
        """Load what the alias means now, if that has changed. Blocks; call it off the event loop.

        A version that cannot be loaded leaves the old one serving, and is told in `trouble`.
        """
        with self._lock:
            try:
                state = self._registry.alias(self._model, self._alias)
                if self._serving is None or state.generation != self._serving.generation:
                    self._set_serving(state)
                self.last_error = None
                self._start_rollout(state.candidate)
            except ServiceError as error:
                self._record_error(error.detail)
                self._fall_back()
            except Exception as error:  # whatever it is, the old snapshot goes on serving and the next poll tries again
                log.exception("following the alias failed")
                self._record_error(f"following the alias failed: {type(error).__name__}")
                self._fall_back()

    def _fall_back(self) -> None:
        """With nothing to serve at all, serve the newest version that the alias meant before and that still loads."""
        if self._serving is not None:
            return
        try:
            for state in self._registry.history(self._model, self._alias):
                try:
                    self._set_serving(state)
                except Unavailable:
                    raise
                except Exception as error:  # whatever is wrong with this version, an older one may load
                    log.error("version %d cannot be loaded: %s", state.version, error)
                    continue
                return
        except ServiceError:
            return  # the store is out of reach; it will be asked again

    def _set_serving(self, state: AliasEntry) -> None:
        """Let the version of an entry serve; a rollout of an earlier entry ends with it."""
        before, fresh = self._serving, self._loaded(state.version, state.generation)
        self._serving = fresh
        self._stop_rollout()
        if before is None or before.version != fresh.version:
            if before:
                self._cache(replace(before, generation=0))  # for a rollback
            self._on_reload(fresh)
            log.info("serving %s version %d", fresh.model, fresh.version)

    def _start_rollout(self, candidate: Candidate | None) -> None:
        """Begin the rollout that the alias asks for, unless it goes on already; a failure is told, and tried again."""
        if candidate is None:
            self._candidate = self.candidate_error = None
        elif self._rollout is None:
            try:
                self._candidate = self._loaded(candidate.version, self.serving.generation)
                self._rollout = CandidateRollout(self.serving, self._candidate, candidate.share, candidate.mode)
                self.candidate_error = None
                log.info("version %d is on rollout as a %s", candidate.version, candidate.mode)
            except Exception as error:  # whatever it is, the version that serves is not concerned
                detail = error.detail if isinstance(error, ServiceError) else type(error).__name__
                if detail != self.candidate_error:
                    log.error("the candidate cannot be tried: %s", detail)
                self.candidate_error = detail

    def _loaded(self, version: int, generation: int) -> ServingModel:
        """Take the version that serves or was tried already as it is, or another one once it is verified."""
        for known in (self._serving, self._candidate):
            if known and known.version == version:
                return replace(known, generation=generation)
        return replace(self.reload(self._model, version), generation=generation)

    def _stop_rollout(self) -> None:
        rollout, self._rollout = self._rollout, None
        if rollout:
            rollout.stop()

    def close(self) -> None:
        """End the rollout, if one goes on."""
        with self._lock:
            self._stop_rollout()

    def get(self, model: str | None = None, version: int | None = None, alias: str | None = None) -> ServingModel:
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
        if known := self._cached(model, version):
            return known
        with self._loading:  # not the lock of `refresh`, which a silent store may hold for seconds
            return self._cached(model, version) or self.reload(model, version)

    def reload(self, model: str, version: int) -> ServingModel:
        """Verify a version in the store, also when it is in memory; it is kept for who asks next.

        Blocks. Raises NotFound for what does not exist, CorruptModel for what cannot be trusted.
        """
        known = self._serving if model == self._model else None
        if not known or known.version != version:
            known = self._cached(model, version)
        if known and known.manifest == (manifest := self._registry.manifest(model, version)):
            self._loader.submit(self._registry.weights, manifest).result()
            return known
        fresh = self._load(model, version, generation=0)
        self._cache(fresh)
        return fresh

    def evict(self, model: str) -> None:
        """Let go of a model's versions that are kept in memory; the one that serves stays, and so does a candidate."""
        with self._cache_lock:
            for known in [known for known in self._models if known[0] == model]:
                del self._models[known]

    def _cache(self, snapshot: ServingModel) -> None:
        with self._cache_lock:
            self._models[snapshot.model, snapshot.version] = snapshot
            if len(self._models) > _CACHE_SIZE:
                self._models.popitem(last=False)

    def _cached(self, model: str, version: int) -> ServingModel | None:
        with self._cache_lock:
            if (model, version) in self._models:
                self._models.move_to_end((model, version))
            return self._models.get((model, version))

    def _load(self, model: str, version: int, generation: int) -> ServingModel:
        return self._loader.submit(lambda: load_and_warm(self._registry.load(model, version), generation)).result()

    def _record_error(self, trouble: str) -> None:
        if trouble != self.last_error:
            log.error("the alias cannot be followed: %s", trouble)
        self.last_error = trouble
