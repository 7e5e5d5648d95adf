"""A candidate beside the serving version: a canary answers a share of the requests, a shadow reads along.

Which requests is decided by a hash of the request id: the same id always meets the same version, on every replica,
and a greater share only adds requests. Either way the version that did not answer reads the same glyphs afterwards, in
a thread of its own, and how often both say the same is counted. That thread is never waited for, and works a tenth of
the time at most: what it cannot keep up with is dropped, and counted too.
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
from training.arrays import Pixels

log = logging.getLogger(__name__)

_NICENESS = 15
"""Of threads that work in the background."""
_MOST_WAITING = 128
"""Answers that wait to be compared; 64 glyphs of 784 bytes each at most: 6 MB."""
_GLYPHS_AT_ONCE = 64
_RESTS, _LEAST_REST_SECONDS = 9, 0.01
"""The thread rests nine times as long as it works: it competes with the answers for Python's one lock."""


@dataclass(frozen=True)
class RolloutStats:
    """What a trial has shown in this process since it began."""

    requests: int
    """Requests that the candidate answered (canary) or that were taken to be compared (shadow)."""
    compared: int
    """Images that both versions have read."""
    agreed: int
    """Those on which both gave the same label."""
    dropped: int
    """Requests that were not compared, since comparing did not keep up."""

    @property
    def agreement(self) -> float | None:
        """How often both gave the same label; None before the first comparison."""
        return self.agreed / self.compared if self.compared else None


class CandidateRollout:
    """One candidate on trial. `route` and `mirror` are called on the event loop, and never wait."""

    def __init__(self, production: ServingModel, candidate: ServingModel, share: float, mode: Mode) -> None:
        """Try `candidate` on `share` of the requests, from 0 to 1."""
        self.production, self.candidate, self.share, self.mode = production, candidate, share, mode
        self._answering, self._reading = (candidate, production) if mode == "canary" else (production, candidate)
        self._waiting: SimpleQueue[tuple[Pixels, Sequence[str]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._requests = self._compared = self._agreed = self._dropped = 0

    def route(self, request_id: str) -> ServingModel:
        """Choose the version that answers a request."""
        if self.mode == "canary" and is_sampled(request_id, self.share):
            self._requests += 1
            return self.candidate
        return self.production

    def mirror(self, request_id: str, snapshot: ServingModel, glyphs: Pixels, labels: Sequence[str]) -> None:
        """Let the other version read what `snapshot` has answered with `labels`, when there is time."""
        if snapshot is not self._answering or not labels:
            return
        if self.mode == "shadow":
            if not is_sampled(request_id, self.share):
                return
            self._requests += 1
        if self._waiting.qsize() >= _MOST_WAITING:
            self._dropped += 1
            return
        self._waiting.put((np.array(glyphs), tuple(labels)))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="trial", daemon=True)
            self._thread.start()

    @property
    def labels(self) -> dict[str, str]:
        """Tell who is on trial, for metrics."""
        return {"model": self.candidate.model, "version": str(self.candidate.version), "mode": self.mode}

    def stats(self) -> RolloutStats:
        """Tell what the trial has shown so far."""
        return RolloutStats(self._requests, self._compared, self._agreed, self._dropped)

    def stop(self) -> None:
        """Let the thread go; what still waits is not compared any more."""
        self._ended.set()
        self._waiting.put(None)

    def _run(self) -> None:
        lower_priority()
        while (first := self._waiting.get()) is not None:
            started = time.perf_counter()
            glyphs, labels = [first[0]], list(first[1])
            with suppress(Empty):
                while len(labels) < _GLYPHS_AT_ONCE and (more := self._waiting.get_nowait()):
                    glyphs.append(more[0])
                    labels += more[1]
            self._count(np.concatenate(glyphs), labels)
            if self._ended.wait(max(_LEAST_REST_SECONDS, _RESTS * (time.perf_counter() - started))):
                return

    def _count(self, glyphs: Pixels, labels: Sequence[str]) -> None:
        try:
            best = self._reading.predict(glyphs).argmax(axis=1).tolist()
        except Exception:  # a candidate that cannot read agrees with nobody, and disturbs nobody
            log.exception("version %d could not read along", self._reading.version)
            best = [-1] * len(labels)
        known = (*self._reading.labels, None)
        self._agreed += sum(known[mine] == theirs for mine, theirs in zip(best, labels, strict=True))
        self._compared += len(labels)


def is_sampled(request_id: str, share: float) -> bool:
    """Tell whether a request is among the share that a trial takes."""
    return int.from_bytes(blake2b(request_id.encode(), digest_size=8).digest()) < share * 2**64


def lower_priority() -> None:
    """Raise the niceness of the calling thread, so that the event loop runs first; Linux only.

    A thread cannot lower it again without privileges: call this in threads that do background work only.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
