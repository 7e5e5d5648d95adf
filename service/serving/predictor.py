"""What answers: an immutable snapshot of one model version, swapped for a better one between two requests."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from service.errors import ServiceError, Unavailable
from service.registry.aliases import AliasState, Candidate
from service.registry.registry import Registry
from service.serving.candidate import Trial, lower_priority
from service.serving.model import Snapshot as Snapshot
from service.serving.model import warm_snapshot
from training.arrays import Pixels

log = logging.getLogger(__name__)

_CACHED_VERSIONS = 4
_LOADERS = 8  # a store that is silent may hold some of them up


class Predictor:
    """Holds the snapshots that answer, and follows the aliases they come from."""

    def __init__(self, registry: Registry, model: str, alias: str, on_swap: Callable[[Snapshot], None]) -> None:
        """Nothing is loaded yet: `follow` does that. `on_swap` hears of each new serving snapshot."""
        self._registry, self._model, self._alias, self._on_swap = registry, model, alias, on_swap
        self._serving: Snapshot | None = None
        self._tried: Snapshot | None = None
        self._trial: Trial | None = None
        self._versions: OrderedDict[tuple[str, int], Snapshot] = OrderedDict()
        self._lock, self._loading, self._remembering = threading.Lock(), threading.Lock(), threading.Lock()
        self._loader = ThreadPoolExecutor(_LOADERS, "loading", lower_priority)
        self.trouble: str | None = None
        """Why the alias could not be followed the last time; the old snapshot goes on serving."""
        self.candidate_trouble: str | None = None
        """Why the candidate of the alias is not on trial; the alias's own version serves all the same."""

    @property
    def serving(self) -> Snapshot:
        """The snapshot for requests that name no version. Raises Unavailable before the first is loaded."""
        if self._serving is None:
            raise Unavailable("no model is loaded yet", retry_after_seconds=1)
        return self._serving

    @property
    def trial(self) -> Trial | None:
        """The trial of a candidate that goes on now."""
        return self._trial

    def choose(self, request_id: str) -> Snapshot:
        """Choose the snapshot for a request that names no version: the serving one, or a canary on its share.

        Raises Unavailable before the first is loaded.
        """
        trial = self._trial  # looked at once: another thread may end it
        if trial is not None:
            return trial.choose(request_id)
        return self._serving or self.serving

    def compare(self, request_id: str, snapshot: Snapshot, glyphs: Pixels, labels: Sequence[str]) -> None:
        """Tell what `snapshot`, as `choose` gave it, has answered: during a trial the other version reads it, too.

        To be called once the answer is made; it never waits. The glyphs, uint8 (n, 28, 28), are copied if needed.
        """
        trial = self._trial
        if trial is not None:
            trial.compare(request_id, snapshot, glyphs, labels)

    def follow(self) -> None:
        """Load what the alias means now, if that has changed. Blocks; call it off the event loop.

        A version that cannot be loaded leaves the old one serving, and is told in `trouble`.
        """
        with self._lock:
            try:
                state = self._registry.alias(self._model, self._alias)
                if self._serving is None or state.generation != self._serving.generation:
                    self._take(state)
                self.trouble = None
                self._try(state.candidate)
            except ServiceError as error:
                self._tell(error.detail)
                self._fall_back()
            except Exception as error:  # whatever it is, the old snapshot goes on serving and the next poll tries again
                log.exception("following the alias failed")
                self._tell(f"following the alias failed: {type(error).__name__}")
                self._fall_back()

    def _fall_back(self) -> None:
        """With nothing to serve at all, serve the newest version that the alias meant before and that still loads."""
        if self._serving is not None:
            return
        try:
            for state in self._registry.history(self._model, self._alias):
                try:
                    self._take(state)
                except Unavailable:
                    raise
                except Exception as error:  # whatever is wrong with this version, an older one may load
                    log.error("version %d cannot be loaded: %s", state.version, error)
                    continue
                return
        except ServiceError:
            return  # the store is out of reach; it will be asked again

    def _take(self, state: AliasState) -> None:
        """Let the version of an entry serve; a trial of an earlier entry ends with it."""
        before, fresh = self._serving, self._at_hand(state.version, state.generation)
        self._serving = fresh
        self._end_trial()
        if before is None or before.version != fresh.version:
            if before:
                self._remember(replace(before, generation=0))  # for a rollback
            self._on_swap(fresh)
            log.info("serving %s version %d", fresh.model, fresh.version)

    def _try(self, candidate: Candidate | None) -> None:
        """Begin the trial that the alias asks for, unless it goes on already; a failure is told, and tried again."""
        if candidate is None:
            self._tried = self.candidate_trouble = None
        elif self._trial is None:
            try:
                self._tried = self._at_hand(candidate.version, self.serving.generation)
                self._trial = Trial(self.serving, self._tried, candidate.share, candidate.mode)
                self.candidate_trouble = None
                log.info("version %d is on trial as a %s", candidate.version, candidate.mode)
            except Exception as error:  # whatever it is, the version that serves is not concerned
                detail = error.detail if isinstance(error, ServiceError) else type(error).__name__
                if detail != self.candidate_trouble:
                    log.error("the candidate cannot be tried: %s", detail)
                self.candidate_trouble = detail

    def _at_hand(self, version: int, generation: int) -> Snapshot:
        """Take the version that serves or was tried already as it is, or another one once it is verified."""
        for known in (self._serving, self._tried):
            if known and known.version == version:
                return replace(known, generation=generation)
        return replace(self.reload(self._model, version), generation=generation)

    def _end_trial(self) -> None:
        trial, self._trial = self._trial, None
        if trial:
            trial.end()

    def close(self) -> None:
        """End the trial, if one goes on."""
        with self._lock:
            self._end_trial()

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
        if known := self._remembered(model, version):
            return known
        with self._loading:  # not the lock of `follow`, which a silent store may hold for seconds
            return self._remembered(model, version) or self.reload(model, version)

    def reload(self, model: str, version: int) -> Snapshot:
        """Verify a version in the store, also when it is in memory; it is kept for who asks next.

        Blocks. Raises NotFound for what does not exist, CorruptModel for what cannot be trusted.
        """
        known = self._serving if model == self._model else None
        if not known or known.version != version:
            known = self._remembered(model, version)
        if known and known.manifest == (manifest := self._registry.manifest(model, version)):
            self._loader.submit(self._registry.weights, manifest).result()
            return known
        fresh = self._load(model, version, generation=0)
        self._remember(fresh)
        return fresh

    def forget(self, model: str) -> None:
        """Let go of a model's versions that are kept in memory; the one that serves stays, and so does a candidate."""
        with self._remembering:
            for known in [known for known in self._versions if known[0] == model]:
                del self._versions[known]

    def _remember(self, snapshot: Snapshot) -> None:
        with self._remembering:
            self._versions[snapshot.model, snapshot.version] = snapshot
            if len(self._versions) > _CACHED_VERSIONS:
                self._versions.popitem(last=False)

    def _remembered(self, model: str, version: int) -> Snapshot | None:
        with self._remembering:
            if (model, version) in self._versions:
                self._versions.move_to_end((model, version))
            return self._versions.get((model, version))

    def _load(self, model: str, version: int, generation: int) -> Snapshot:
        return self._loader.submit(lambda: warm_snapshot(self._registry.load(model, version), generation)).result()

    def _tell(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.error("the alias cannot be followed: %s", trouble)
        self.trouble = trouble
