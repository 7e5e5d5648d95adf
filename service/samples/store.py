"""The samples: pictures that users have put right, kept as objects in the store for the next training.

    samples/<model>/<id>-<microseconds>-<label in hex>.json

A sample's id is its picture's hash, and each label that somebody gives it is one more object, whole in itself; the
newest counts. So nothing is ever overwritten, two replicas cannot undo each other's work, and one listing, without
reading any object, tells the labels, the times and the sizes of all.
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

from service.errors import Conflict, InvalidInput, NotFound, SamplesFull
from service.registry.store import Store
from service.samples.sample import Label, Sample, content_id, from_bytes, iso_time, to_bytes
from service.settings import Settings
from training.arrays import Pixels

log = logging.getLogger(__name__)

_KEPT_LABELS = 8
"""Of one sample; older ones are forgotten."""
_LONGEST_LABEL = 64
_ADMITTING_SECONDS = 30.0
"""How old a listing may be by which a new sample is admitted; what this process does is in it at once."""
_REFUSAL_MAX_AGE_SECONDS = 2.0
"""How old one may be by which it is refused: others may have made room."""
_READERS = 16
_KEY = re.compile(r"samples/[^/]+/[0-9a-f]{32}-[0-9]{16}-([0-9a-f]{2})+\.json")


@dataclass(frozen=True)
class Entry:
    """One object of the store: a picture and a label that it was given."""

    sample_id: str
    stamp: int
    """When, in microseconds since 1970."""
    label: str
    key: str
    size: int

    @property
    def since(self) -> str:
        """When, as ISO 8601."""
        return iso_time(self.stamp)


Listing = dict[str, list[Entry]]
"""By sample id: its entries, oldest first."""


class SampleStore:
    """The samples of all models on a store. Blocks; call it off the event loop."""

    def __init__(self, store: Store, *, most: int, most_bytes: int) -> None:
        """Keep at most so many samples of a model, and so many bytes of them."""
        self._store, self._most, self._most_bytes = store, most, most_bytes
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Listing]] = {}

    def add(self, model: str, glyph: Pixels, label: str, source: Source) -> tuple[Sample, bool]:
        """Keep a picture with its right label; answer the sample, and whether anything is new about it.

        The same picture with the same label changes nothing; another label counts from now on, and the one before
        becomes history. Raises BlankImage, SamplesFull, NoDiskSpace or Unavailable; then nothing has changed.
        """
        if len(label.encode()) > _LONGEST_LABEL:
            raise InvalidInput(f"labels of samples have at most {_LONGEST_LABEL} bytes", field="label")
        sample_id = content_id(glyph)
        content = to_bytes(glyph, model, label, source)
        with self._lock:  # in other processes the same may happen now: both entries are kept, of one sample
            known = self._listing_for(model, sample_id, len(content))
            entries = known.get(sample_id, [])
            if entries and entries[-1].label == label:
                if sample := self._attempt(entries[-1]):
                    return replace(sample, history=_history(entries)), False
                del known[sample_id]  # deleted elsewhere since we looked, or damaged
                entries = []
            if refusal := self._refusal(known, len(content), is_new=not entries):
                raise SamplesFull(f"{refusal}; export them and delete some")
            # Later than the label before it, also where this host's clock is behind another's.
            stamp = max(time.time_ns() // 1000, entries[-1].stamp + 1 if entries else 0)
            entry = _entry(f"samples/{model}/{sample_id}-{stamp:016d}-{label.encode().hex()}.json", len(content))
            with suppress(FileExistsError):  # the same picture, label and microsecond
                self._store.create(entry.key, content)
            known[sample_id] = [*entries, entry]
            self._forget(model, known[sample_id][:-_KEPT_LABELS])
            sample = from_bytes(content, sample_id, stamp)
            return replace(sample, history=_history(known[sample_id])), True

    def get(self, model: str, sample_id: str) -> Sample:
        """Read a sample with its history. Raises NotFound."""
        entries = self._read_listing(model).get(sample_id)
        if entries and (sample := self._attempt(entries[-1])):
            return replace(sample, history=_history(entries))
        raise NotFound("there is no sample of that id")

    def list(self, model: str) -> list[Entry]:
        """List a model's samples by their newest labels, the newest first, without reading them."""
        return [*self.survey(model)[0]]

    def survey(self, model: str) -> tuple[Sequence[Entry], int]:
        """List a model's samples, and count the bytes that they take, history included."""
        listing = self._read_listing(model)
        newest = [entries[-1] for entries in listing.values()]
        return sorted(newest, key=lambda entry: (entry.stamp, entry.sample_id), reverse=True), _bytes(listing)

    def read_all(self, model: str) -> Iterator[Sample]:
        """Read the samples as they stand now, in the order of their ids, without their histories.

        What is deleted meanwhile, or damaged, is left out.
        """
        entries = sorted(self.list(model), key=lambda entry: entry.sample_id)
        readers = ThreadPoolExecutor(_READERS)  # a store across a network answers many at once
        try:
            for sample in readers.map(self._attempt, entries):
                if sample:
                    yield sample
        finally:
            readers.shutdown(cancel_futures=True)  # who has seen enough does not wait for the rest

    def delete(self, model: str, choose: Callable[[Entry], bool]) -> int:
        """Delete the samples whose newest entries are chosen; answer how many."""
        chosen = [entries for entries in self._read_listing(model).values() if choose(entries[-1])]
        for entries in chosen:
            with self._lock:
                self._forget(model, entries)  # oldest first: cut off in between, the newest label still counts
        log.info("deleted %d samples of %s", len(chosen), model)
        return len(chosen)

    def delete_sent(
        self, model: str, sender: str, key_ids: frozenset[str], choose: Callable[[Entry], bool] = lambda _: True
    ) -> int:
        """Delete the labels that a key sent, by its name or id or one of those ids, where they are chosen.

        Answer how many samples had one. A label that another sent before counts again; without any the sample is gone.
        """
        chosen = [entry for entries in self._read_listing(model).values() for entry in entries if choose(entry)]
        with ThreadPoolExecutor(_READERS) as readers:
            read = zip(chosen, readers.map(self._attempt, chosen), strict=True)
            sent = [entry for entry, sample in read if sample and sample.source.is_by(sender, key_ids)]
        with self._lock:
            self._forget(model, sent)
        count = len({entry.sample_id for entry in sent})
        log.info("deleted the labels of %d samples of %s that the key %r sent", count, model, sender)
        return count

    def _listing_for(self, model: str, sample_id: str, size: int) -> Listing:
        """Answer a listing that is fresh enough to add to a sample."""
        known = self._recent_listing(model, _ADMITTING_SECONDS)
        # Labelled before, and perhaps anew by another replica just now, by a clock that may be ahead of this host's.
        if sample_id in known or self._store.has_prefix(f"samples/{model}/{sample_id}-"):
            return self._new_listing(model)
        if self._refusal(known, size, is_new=True):  # others may have made room, or know the picture
            return self._recent_listing(model, _REFUSAL_MAX_AGE_SECONDS)
        return known

    def _refusal(self, known: Listing, size: int, *, is_new: bool) -> str | None:
        if is_new and len(known) >= self._most:
            return f"{self._most:,} samples are kept already"
        if _bytes(known) + size > self._most_bytes:
            return f"the samples fill their {self._most_bytes:,} bytes"
        return None

    def _forget(self, model: str, entries: Sequence[Entry]) -> None:
        for entry in tuple(entries):
            self._store.delete(entry.key)
            _, known = self._known.get(model, (0.0, {}))
            if rest := [other for other in known.get(entry.sample_id, ()) if other.key != entry.key]:
                known[entry.sample_id] = rest
            else:
                known.pop(entry.sample_id, None)

    def _attempt(self, entry: Entry) -> Sample | None:
        """Read a sample, if it is there and whole."""
        try:
            with self._store.damaged.track(entry.key, ValueError):
                return from_bytes(self._store.get(entry.key), entry.sample_id, entry.stamp)
        except (FileNotFoundError, ValueError):
            return None

    def _recent_listing(self, model: str, seconds: float) -> Listing:
        """List, unless that was done so short a while ago; what is done here is always in it."""
        seen, known = self._known.get(model, (0.0, {}))
        return known if seen and time.monotonic() - seen < seconds else self._new_listing(model)

    def _new_listing(self, model: str) -> Listing:
        known = self._read_listing(model)
        self._known[model] = (time.monotonic(), known)
        return known

    def _read_listing(self, model: str) -> Listing:
        objects = sorted(self._store.sizes(f"samples/{model}").items())
        entries = (_entry(key, size) for key, size in objects if _KEY.fullmatch(key))
        return {sample_id: list(group) for sample_id, group in groupby(entries, lambda entry: entry.sample_id)}


def open_samples(store: Store, settings: Settings) -> SampleStore:
    """Keep samples on a store, within what the settings allow."""
    return SampleStore(store, max_samples=settings.max_samples, max_bytes=settings.max_sample_bytes)


def sample_filter(
    label: str | None = None, older_than_days: float | None = None, known: Sequence[Entry] = ()
) -> Callable[[Entry], bool]:
    """Choose samples by label, by age, by both; by neither: all.

    Raises Conflict when of those `known` the newest, too, is older: then the clock may be wrong by years.
    """
    now = time.time()
    before = (now - (older_than_days or 0) * 86_400) * 1e6
    if older_than_days is not None and known and all(entry.stamp < before for entry in known):
        today = datetime.fromtimestamp(now, UTC).date()
        raise Conflict(
            f"by the clock of this host, where it is {today}, all {len(known)} samples are that old; "
            "set the clock if it is wrong, or else delete them all, or by label or id"
        )

    def choose(entry: Entry) -> bool:
        return label in (None, entry.label) and (older_than_days is None or entry.stamp < before)

    return choose


def count_by_label(entries: Sequence[Entry]) -> dict[str, int]:
    """Count samples by label."""
    return dict(sorted(Counter(entry.label for entry in entries).items()))


def _entry(key: str, size: int) -> Entry:
    sample_id, stamp, label = key.rpartition("/")[2].removesuffix(".json").split("-")
    return Entry(sample_id, int(stamp), bytes.fromhex(label).decode(errors="replace"), key, size)


def _bytes(listing: Listing) -> int:
    return sum(entry.size for entries in listing.values() for entry in entries)


def _history(entries: Sequence[Entry]) -> tuple[Label, ...]:
    """Tell the labels, newest first; what was said twice in a row (by two replicas at once) counts once."""
    said = [next(group) for _, group in groupby(entries, lambda entry: entry.label)]
    return tuple(Label(entry.label, entry.since) for entry in reversed(said))
