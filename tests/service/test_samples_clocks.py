"""The label that was sent last counts, whatever the clocks of the hosts say."""

import time

import numpy as np
import pytest

from service.registry.store import Store, open_store
from service.samples.sample import Provenance
from service.samples.store import SampleStore

PICTURE = np.eye(28, dtype=np.uint8) * 255
OTHER = np.eye(28, k=3, dtype=np.uint8) * 255
AHEAD = {"ten minutes": 600, "an hour": 3600, "ten years": 10 * 365 * 86_400}
"""Seconds."""


def replica(store: Store) -> SampleStore:
    return SampleStore(store, max_samples=100, max_bytes=10**6)


def label(samples: SampleStore, label: str) -> None:
    sample, is_new = samples.add("mnist", PICTURE, label, Provenance("clocks"))
    assert (sample.label, is_new) == (label, True)


def labels(location: str) -> list[str]:
    """What another process finds: the labels of the picture, the one that counts first."""
    (entry,) = (samples := replica(open_store(location))).list("mnist")
    said = [each.label for each in samples.get("mnist", entry.sample_id).history]
    assert entry.label == said[0]
    return said


def put_ahead(store: Store, seconds: float) -> None:
    """Let what is in the store be written by a host whose clock is ahead."""
    for key in store.list("samples/mnist"):
        sample_id, _, text = key.rpartition("/")[2].split("-")
        stamp = (time.time_ns() + int(seconds * 1e9)) // 1000
        store.create(f"samples/mnist/{sample_id}-{stamp:016d}-{text}", store.get(key))
        store.delete(key)


@pytest.mark.parametrize("seconds", AHEAD.values(), ids=AHEAD)
def test_a_later_label_counts_where_the_clock_is_behind_the_one_of_the_label_before(
    seconds: float, store: Store, location: str
) -> None:
    label(replica(store), "9")
    put_ahead(store, seconds)
    here = replica(open_store(location))
    for place, said in enumerate("8642", start=2):  # falling: at the same stamp the greater one would count
        label(here, said)
        assert labels(location) == [*"98642"][:place][::-1]


@pytest.mark.parametrize("seconds", AHEAD.values(), ids=AHEAD)
def test_a_later_label_counts_where_another_process_labelled_the_picture_since_this_one_looked(
    seconds: float, store: Store, location: str
) -> None:
    here, there = replica(store), replica(open_store(location))
    here.add("other", PICTURE, "1", Provenance("clocks"))
    here.add("mnist", OTHER, "1", Provenance("clocks"))  # from now on it remembers a listing
    here.delete("mnist", lambda _: True)
    label(there, "9")
    put_ahead(store, seconds)
    label(here, "4")
    assert labels(location) == ["4", "9"]


def test_a_key_begins_so_or_not(store: Store) -> None:
    for key in ("samples/a/b1-x", "samples/a/b3-x", "samples/aa/b2-x"):
        store.create(key, b"")
    found = {name: store.has_prefix(f"samples/a/{name}") for name in ("b1-", "b", "b2-", "b3-", "b4-", "a")}
    assert found == {"b1-": True, "b": True, "b2-": False, "b3-": True, "b4-": False, "a": False}
    assert not store.has_prefix("nothing/x")
