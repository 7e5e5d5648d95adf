"""Checkpoints of running jobs, from which any worker can resume: `jobs/<job id>/checkpoint.npz` in the store."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from service.errors import ServiceError
from service.registry.store import Store

log = logging.getLogger(__name__)

_CHECK_INTERVAL_SECONDS = 0.25


class Checkpoints:
    """The checkpoints of jobs that have not ended."""

    def __init__(self, store: Store) -> None:
        """Use a store."""
        self.store = store

    def download(self, job_id: str, path: Path) -> bool:
        """Write a job's checkpoint to a file; return whether there is one. Raises Unavailable."""
        try:
            path.write_bytes(self.store.get(_key(job_id)))
        except FileNotFoundError:
            return False
        return True

    @contextlib.contextmanager
    def upload_while(self, job_id: str, path: Path, should_stop: Callable[[], bool]) -> Iterator[None]:
        """Upload each new version of a file as the job's checkpoint during the block, unless the job should stop.

        A failed upload is logged and training continues; a later checkpoint may succeed.
        """
        uploaded = 0

        def upload() -> None:
            nonlocal uploaded
            with contextlib.suppress(FileNotFoundError):
                modified = path.stat().st_mtime_ns
                if (
                    modified == uploaded or should_stop()
                ):  # another worker may have ended the job while we were suspended
                    return
                try:
                    self.store.put_file(_key(job_id), path)
                    uploaded = modified
                except ServiceError as error:
                    log.warning("cannot upload the checkpoint of %s: %s", job_id, error.detail)

        with run_periodically(upload, _CHECK_INTERVAL_SECONDS):
            yield

    def delete(self, job_id: str) -> None:
        """Delete the checkpoint and the inputs of a job that has ended. Raises Unavailable."""
        for key in self.store.list(f"jobs/{job_id}"):
            self.store.delete(key)

    def job_ids(self) -> list[str]:
        """Return the IDs of the jobs that have one. Raises Unavailable."""
        return sorted({key.split("/")[1] for key in self.store.list("jobs")})


def _key(job_id: str) -> str:
    return f"jobs/{job_id}/checkpoint.npz"


@contextlib.contextmanager
def run_periodically(action: Callable[[], object], seconds: float) -> Iterator[None]:
    """Call `action` every `seconds` in a background thread while the block runs."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(seconds):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
