"""Damaged and made-up weights files; `benchmarks/damaged_weights.py` tries every byte of one."""

import resource
from hashlib import sha256

import numpy as np
import pytest

from service.errors import CorruptModel
from service.registry.manifest import Manifest, load_verified
from service.registry.registry import Registry
from service.registry.store import Store
from service.serving.predictor import Predictor
from tests.service.crafted_weights import LABELS, crafted, small_network
from training import MLP, WeightsError, load
from training.export.npz import to_bytes

CRAFTED = dict(crafted())


def with_its_hash(content: bytes) -> Manifest:
    return Manifest("small", 1, {"labels": LABELS, "weights_sha256": sha256(content).hexdigest()})


def is_the_same(network: MLP) -> bool:
    good = small_network()
    return network.config == good.config and network.parameters.tobytes() == good.parameters.tobytes()


@pytest.mark.parametrize("content", CRAFTED.values(), ids=CRAFTED)
def test_a_made_up_file_with_the_right_hash_is_refused_or_is_the_very_network(content: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        network = load_verified(content, with_its_hash(content))
    except CorruptModel:
        network = small_network()
    assert is_the_same(network)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # in KiB


def test_flipped_and_cut_files_are_refused_or_are_the_very_network() -> None:
    good = to_bytes(small_network())
    refused = 0
    for place in range(0, len(good), 7):
        flipped = bytearray(good)
        flipped[place] ^= 0x80
        for damaged in (bytes(flipped), good[:place]):
            try:
                assert is_the_same(load(damaged))
            except WeightsError:
                refused += 1
    assert refused > len(good) / 7


def test_whatever_happens_to_the_file_of_a_promoted_version_the_old_one_answers_as_before(store: Store) -> None:
    registry = Registry(store)
    for seed in (1, 0):
        weights = to_bytes(small_network(seed))
        registry.publish("small", weights, {"labels": LABELS, "weights_sha256": sha256(weights).hexdigest()})
    registry.promote("small", "production", 1)
    predictor = Predictor(registry, "small", "production", on_reload=lambda _: None)
    predictor.refresh()
    glyphs = np.random.default_rng(0).integers(0, 256, (8, 28, 28), np.uint8)
    answer = predictor.serving.predict(glyphs).tobytes()
    registry.promote("small", "production", 2)
    good = store.get("models/small/2/weights.npz")
    for content in [*CRAFTED.values(), good[:-1], b"\x00" + good[1:]]:
        store.put("models/small/2/weights.npz", content)
        predictor.refresh()
        assert predictor.serving.version == 1
        assert predictor.last_error
        assert predictor.route("any").predict(glyphs).tobytes() == answer
    store.put("models/small/2/weights.npz", good)
    predictor.refresh()
    assert (predictor.serving.version, predictor.last_error) == (2, None)
