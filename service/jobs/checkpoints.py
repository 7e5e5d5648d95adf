"""How far the jobs at work are, where any worker can go on from it: `jobs/<job id>/checkpoint.npz` in the store."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from service.errors import ServiceError
from service.registry.store import Store
from service.repeating import repeating

log = logging.getLogger(__name__)

_KEEP_SECONDS = 0.25


class Checkpoints:
    """The checkpoints of jobs that have not ended."""

    def __init__(self, store: Store) -> None:
        """Stand on a store."""
        self.store = store

    def download(self, job_id: str, path: Path) -> bool:
        """Bring a job's checkpoint here, if there is one. Raises Unavailable."""
        try:
            path.write_bytes(self.store.get(_key(job_id)))
        except FileNotFoundError:
            return False
        return True

    @contextlib.contextmanager
    def upload_while(self, job_id: str, path: Path, should_stop: Callable[[], bool]) -> Iterator[None]:
        """Keep each new state of a file as the job's checkpoint, from a thread of its own, unless it should stop.

        A store that cannot be written is told in the log; training goes on, and a later checkpoint may get through.
        """
        kept = 0

        def keep() -> None:
            nonlocal kept
            with contextlib.suppress(FileNotFoundError):
                changed = path.stat().st_mtime_ns
                if changed == kept or should_stop():  # another may have ended it while this process was stopped
                    return
                try:
                    self.store.put_file(_key(job_id), path)
                    kept = changed
                except ServiceError as error:
                    log.warning("no checkpoint of %s is kept: %s", job_id, error.detail)

        with repeating(keep, _KEEP_SECONDS):
            yield

    def delete(self, job_id: str) -> None:
        """Delete a job's checkpoint, and what else it was given; it has ended. Raises Unavailable."""
        for key in self.store.list(f"jobs/{job_id}"):
            self.store.delete(key)

    def job_ids(self) -> list[str]:
        """List the jobs that have one. Raises Unavailable."""
        return sorted({key.split("/")[1] for key in self.store.list("jobs")})


def _key(job_id: str) -> str:
    return f"jobs/{job_id}/checkpoint.npz"
