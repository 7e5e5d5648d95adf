"""The sample store: corrected images as objects, for the next training.

    samples/<model>/<id>-<microseconds>-<label in hex>.json

The ID of a sample is the hash of its image. Each label that is submitted for it is one more self-contained object, and
the newest one counts. Nothing is ever overwritten, so replicas cannot undo each other's changes, and one list request
returns the labels, times and sizes of all samples without reading any object.
"""

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby

from service.errors import Conflict, NotFound, SampleQuotaExceeded, UnprocessableContent
from service.registry.store import Store
from service.samples.sample import LabelEntry, Provenance, Sample, content_id, from_bytes, iso_time, to_bytes
from service.settings import Settings
from training.types import Pixels

log = logging.getLogger(__name__)

_MAX_LABELS = 8
"""Labels kept per sample; older ones are deleted."""
_MAX_LABEL_BYTES = 64
_LISTING_MAX_AGE_SECONDS = 30.0
"""Maximum age of a cached listing for accepting a sample; this process updates it with its own changes."""
_REFUSAL_MAX_AGE_SECONDS = 2.0
"""Maximum age of a cached listing for refusing a sample, since others may have deleted some."""
_READER_THREADS = 16
_KEY = re.compile(r"samples/[^/]+/[0-9a-f]{32}-[0-9]{16}-([0-9a-f]{2})+\.json")


@dataclass(frozen=True)
class Entry:
    """One object in the store: an image and one of its labels."""

    sample_id: str
    timestamp: int
    """Unix time in microseconds."""
    label: str
    key: str
    size: int

    @property
    def since(self) -> str:
        """The time as ISO 8601."""
        return iso_time(self.timestamp)


Listing = dict[str, list[Entry]]
"""Entries by sample ID, oldest first."""


class SampleStore:
    """The samples of all models. Blocks; call it off the event loop."""

    def __init__(self, store: Store, *, max_samples: int, max_bytes: int) -> None:
        """Use a store, with quotas per model."""
        self._store, self._max_samples, self._max_bytes = store, max_samples, max_bytes
        self._lock = threading.Lock()
        self._listings: dict[str, tuple[float, Listing]] = {}

    def add(self, model: str, glyph: Pixels, label: str, source: Provenance) -> tuple[Sample, bool]:
        """Store an image with its correct label; return the sample and whether anything changed.

        The same image with the same label changes nothing; a different label replaces the current one, which moves to
        the history. Raises BlankImage, SampleQuotaExceeded, InsufficientStorage or Unavailable without a change.
        """
        if len(label.encode()) > _MAX_LABEL_BYTES:
            raise UnprocessableContent(f"labels of samples have at most {_MAX_LABEL_BYTES} bytes", field="label")
        sample_id = content_id(glyph)
        content = to_bytes(glyph, model, label, source)
        with self._lock:  # other processes may do the same now: both entries are then kept for one sample
            listing = self._listing_for(model, sample_id, len(content))
            entries = listing.get(sample_id, [])
            if entries and entries[-1].label == label:
                if sample := self._try_read(entries[-1]):
                    return replace(sample, history=_history(entries)), False
                del listing[sample_id]  # deleted by another process since it was listed, or damaged
                entries = []
            if quota_error := self._quota_error(listing, len(content), is_new=not entries):
                raise SampleQuotaExceeded(f"{quota_error}; export them and delete some")
            # Later than the previous label even if this host's clock is behind another one's.
            timestamp = max(time.time_ns() // 1000, entries[-1].timestamp + 1 if entries else 0)
            key = f"samples/{model}/{sample_id}-{timestamp:016d}-{label.encode().hex()}.json"
            entry = _parse_key(key, len(content))
            with suppress(FileExistsError):  # the same image, label and microsecond
                self._store.create(entry.key, content)
            listing[sample_id] = [*entries, entry]
            self._delete_entries(model, listing[sample_id][:-_MAX_LABELS])
            sample = from_bytes(content, sample_id, timestamp)
            return replace(sample, history=_history(listing[sample_id])), True

    def get(self, model: str, sample_id: str) -> Sample:
        """Read a sample with its history. Raises NotFound."""
        entries = self._read_listing(model).get(sample_id)
        if entries and (sample := self._try_read(entries[-1])):
            return replace(sample, history=_history(entries))
        raise NotFound("there is no sample of that id")

    def list(self, model: str) -> list[Entry]:
        """Return the newest entry of each of a model's samples, newest first."""
        return [*self.list_with_size(model)[0]]

    def list_with_size(self, model: str) -> tuple[Sequence[Entry], int]:
        """Return what `list` does, and the size of all entries in bytes, history included."""
        listing = self._read_listing(model)
        newest = [entries[-1] for entries in listing.values()]
        return sorted(newest, key=lambda entry: (entry.timestamp, entry.sample_id), reverse=True), _total_size(listing)

    def read_all(self, model: str) -> Iterator[Sample]:
        """Yield the current samples in the order of their IDs, without their histories.

        Samples that are damaged, or deleted in the meantime, are skipped.
        """
        entries = sorted(self.list(model), key=lambda entry: entry.sample_id)
        readers = ThreadPoolExecutor(_READER_THREADS)  # a remote store serves many requests at once
        try:
            for sample in readers.map(self._try_read, entries):
                if sample:
                    yield sample
        finally:
            readers.shutdown(cancel_futures=True)  # if the caller stops early, do not read the rest

    def delete(self, model: str, matches: Callable[[Entry], bool]) -> int:
        """Delete the samples whose newest entry matches; return how many."""
        samples = [entries for entries in self._read_listing(model).values() if matches(entries[-1])]
        for entries in samples:
            with self._lock:
                self._delete_entries(model, entries)  # oldest first: if interrupted, the newest label still counts
        log.info("deleted %d samples of %s", len(samples), model)
        return len(samples)

    def delete_sent(
        self, model: str, sender: str, key_ids: frozenset[str], matches: Callable[[Entry], bool] = lambda _: True
    ) -> int:
        """Delete the matching labels that a key submitted, by its name or ID or one of those IDs.

        Return how many samples had one. The previous label of a sample counts again; without any the sample is deleted.
        """
        entries = [entry for entries in self._read_listing(model).values() for entry in entries if matches(entry)]
        with ThreadPoolExecutor(_READER_THREADS) as readers:
            read = zip(entries, readers.map(self._try_read, entries), strict=True)
            sent = [entry for entry, sample in read if sample and sample.source.is_by(sender, key_ids)]
        with self._lock:
            self._delete_entries(model, sent)
        count = len({entry.sample_id for entry in sent})
        log.info("deleted the labels of %d samples of %s that the key %r submitted", count, model, sender)
        return count

    def _listing_for(self, model: str, sample_id: str, size: int) -> Listing:
        """Return a listing that is recent enough to add a sample."""
        listing = self._cached_listing(model, _LISTING_MAX_AGE_SECONDS)
        # The sample exists; another replica, with a clock ahead of ours, may just have relabelled it.
        if sample_id in listing or self._store.has_prefix(f"samples/{model}/{sample_id}-"):
            return self._fresh_listing(model)
        if self._quota_error(listing, size, is_new=True):  # others may have deleted samples
            return self._cached_listing(model, _REFUSAL_MAX_AGE_SECONDS)
        return listing

    def _quota_error(self, listing: Listing, size: int, *, is_new: bool) -> str | None:
        if is_new and len(listing) >= self._max_samples:
            return f"there are {self._max_samples:,} samples already"
        if _total_size(listing) + size > self._max_bytes:
            return f"the samples use all of their {self._max_bytes:,} bytes"
        return None

    def _delete_entries(self, model: str, entries: Sequence[Entry]) -> None:
        for entry in tuple(entries):
            self._store.delete(entry.key)
            _, listing = self._listings.get(model, (0.0, {}))
            if rest := [other for other in listing.get(entry.sample_id, ()) if other.key != entry.key]:
                listing[entry.sample_id] = rest
            else:
                listing.pop(entry.sample_id, None)

    def _try_read(self, entry: Entry) -> Sample | None:
        """Read a sample; None if it is damaged or deleted."""
        try:
            with self._store.damaged.track(entry.key, ValueError):
                return from_bytes(self._store.get(entry.key), entry.sample_id, entry.timestamp)
        except (FileNotFoundError, ValueError):
            return None

    def _cached_listing(self, model: str, max_age_seconds: float) -> Listing:
        """Return the cached listing if it is recent enough; changes by this process are always in it."""
        read_at, listing = self._listings.get(model, (0.0, {}))
        is_recent = read_at and time.monotonic() - read_at < max_age_seconds
        return listing if is_recent else self._fresh_listing(model)

    def _fresh_listing(self, model: str) -> Listing:
        listing = self._read_listing(model)
        self._listings[model] = (time.monotonic(), listing)
        return listing

    def _read_listing(self, model: str) -> Listing:
        objects = sorted(self._store.sizes(f"samples/{model}").items())
        entries = (_parse_key(key, size) for key, size in objects if _KEY.fullmatch(key))
        return {sample_id: list(group) for sample_id, group in groupby(entries, lambda entry: entry.sample_id)}


def open_samples(store: Store, settings: Settings) -> SampleStore:
    """Return the sample store with the quotas of the settings."""
    return SampleStore(store, max_samples=settings.max_samples, max_bytes=settings.max_sample_bytes)


def sample_filter(
    label: str | None = None, older_than_days: float | None = None, listed: Sequence[Entry] = ()
) -> Callable[[Entry], bool]:
    """Return a filter by label and age; without either it matches all samples.

    Raises Conflict if all samples in `listed` are older, since the clock may then be wrong by years.
    """
    now = time.time()
    before = (now - (older_than_days or 0) * 86_400) * 1e6
    if older_than_days is not None and listed and all(entry.timestamp < before for entry in listed):
        today = datetime.fromtimestamp(now, UTC).date()
        raise Conflict(
            f"all {len(listed)} samples are that old by the clock of this host, where it is {today}; "
            "set the clock if it is wrong, or delete all samples, or delete by label or id"
        )

    def matches(entry: Entry) -> bool:
        return label in (None, entry.label) and (older_than_days is None or entry.timestamp < before)

    return matches


def count_by_label(entries: Sequence[Entry]) -> dict[str, int]:
    """Return the number of samples by label, sorted."""
    return dict(sorted(Counter(entry.label for entry in entries).items()))


def _parse_key(key: str, size: int) -> Entry:
    sample_id, timestamp, label = key.rpartition("/")[2].removesuffix(".json").split("-")
    return Entry(sample_id, int(timestamp), bytes.fromhex(label).decode(errors="replace"), key, size)


def _total_size(listing: Listing) -> int:
    return sum(entry.size for entries in listing.values() for entry in entries)


def _history(entries: Sequence[Entry]) -> tuple[LabelEntry, ...]:
    """Return the labels, newest first; a label that was submitted twice in a row (by two replicas) counts once."""
    distinct = [next(group) for _, group in groupby(entries, lambda entry: entry.label)]
    return tuple(LabelEntry(entry.label, entry.since) for entry in reversed(distinct))
