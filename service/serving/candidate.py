"""Rollout of a candidate next to the serving version, as a canary or as a shadow.

A canary answers a share of the requests; a shadow only gets a copy of them. A hash of the request ID selects the
requests: the same ID always gets the same version, on every replica, and a larger share only adds requests. In both
modes the version that did not answer also predicts the same images afterwards, in a background thread, and the
agreement is counted. The thread never delays a request and works at most a tenth of the time; requests that it cannot
keep up with are dropped and counted.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from queue import Empty, SimpleQueue

import numpy as np

from service.registry.aliases import Mode
from service.serving.model import ServingModel
from training.types import Pixels

log = logging.getLogger(__name__)

_NICENESS = 15
"""Niceness of background threads."""
_MAX_QUEUED = 128
"""Requests queued for comparison, with at most 64 images of 784 bytes each: 6 MB."""
_BATCH_SIZE = 64
_REST_FACTOR, _MIN_REST_SECONDS = 9, 0.01
"""The thread sleeps nine times as long as it works, since it competes with requests for the GIL."""


@dataclass(frozen=True)
class RolloutStats:
    """Counts of one rollout in this process."""

    requests: int
    """Requests that the canary answered, or that the shadow got a copy of."""
    compared: int
    """Images that both versions predicted."""
    agreed: int
    """Images for which both predicted the same label."""
    dropped: int
    """Requests that were not compared because the queue was full."""

    @property
    def agreement(self) -> float | None:
        """Fraction of compared images with the same label; None before the first comparison."""
        return self.agreed / self.compared if self.compared else None


class CandidateRollout:
    """The rollout of one candidate. `route` and `mirror` run on the event loop and never block."""

    def __init__(self, production: ServingModel, candidate: ServingModel, share: float, mode: Mode) -> None:
        """Roll out `candidate` to a `share` of the requests, from 0 to 1."""
        self.production, self.candidate, self.share, self.mode = production, candidate, share, mode
        self._compared_model, self._comparing_model = (
            (candidate, production) if mode == "canary" else (production, candidate)
        )
        self._queue: SimpleQueue[tuple[Pixels, Sequence[str]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._requests = self._compared = self._agreed = self._dropped = 0

    def route(self, request_id: str) -> ServingModel:
        """Return the version that answers a request."""
        if self.mode == "canary" and is_sampled(request_id, self.share):
            self._requests += 1
            return self.candidate
        return self.production

    def mirror(self, request_id: str, model: ServingModel, glyphs: Pixels, labels: Sequence[str]) -> None:
        """Queue a request that `model` answered with `labels` for comparison with the other version."""
        if model is not self._compared_model or not labels:
            return
        if self.mode == "shadow":
            if not is_sampled(request_id, self.share):
                return
            self._requests += 1
        if self._queue.qsize() >= _MAX_QUEUED:
            self._dropped += 1
            return
        self._queue.put((np.array(glyphs), tuple(labels)))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="candidate", daemon=True)
            self._thread.start()

    @property
    def labels(self) -> dict[str, str]:
        """Metric labels of the candidate."""
        return {"model": self.candidate.model, "version": str(self.candidate.version), "mode": self.mode}

    def stats(self) -> RolloutStats:
        """Return the counts so far."""
        return RolloutStats(self._requests, self._compared, self._agreed, self._dropped)

    def stop(self) -> None:
        """Stop the background thread; queued requests are not compared."""
        self._stopped.set()
        self._queue.put(None)

    def _run(self) -> None:
        lower_priority()
        while (first := self._queue.get()) is not None:
            started = time.perf_counter()
            glyphs, labels = [first[0]], list(first[1])
            with suppress(Empty):
                while len(labels) < _BATCH_SIZE and (item := self._queue.get_nowait()):
                    glyphs.append(item[0])
                    labels += item[1]
            self._compare(np.concatenate(glyphs), labels)
            if self._stopped.wait(max(_MIN_REST_SECONDS, _REST_FACTOR * (time.perf_counter() - started))):
                return

    def _compare(self, glyphs: Pixels, labels: Sequence[str]) -> None:
        try:
            classes = self._comparing_model.predict(glyphs).argmax(axis=1).tolist()
        except Exception:  # of any kind: counts as disagreement and affects no request
            log.exception("comparing with version %d failed", self._comparing_model.version)
            classes = [-1] * len(labels)
        names = (*self._comparing_model.labels, None)
        self._agreed += sum(names[index] == label for index, label in zip(classes, labels, strict=True))
        self._compared += len(labels)


def is_sampled(request_id: str, share: float) -> bool:
    """Return whether a request belongs to the share of a rollout."""
    return int.from_bytes(blake2b(request_id.encode(), digest_size=8).digest()) < share * 2**64


def lower_priority() -> None:
    """Raise the niceness of the calling thread, so that the event loop runs first; Linux only.

    A thread cannot lower it again without privileges: call this in threads that do background work only.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
