"""Two replicas at one store, in any order of work, agree with a plain dictionary of pictures and labels."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from service.errors import SampleQuotaExceeded
from service.registry.store import open_store
from service.samples.sample import Provenance, content_id
from service.samples.store import SampleStore, count_by_label, sample_filter

MOST = 5
PICTURES = [np.eye(28, k=offset, dtype=np.uint8) * 255 for offset in range(7)]
IDS = [content_id(picture) for picture in PICTURES]

pictures = st.integers(0, len(PICTURES) - 1)
labels = st.sampled_from("123")
replicas = st.integers(0, 1)


class TwoReplicas(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.samples = [SampleStore(open_store(str(self.folder)), max_samples=MOST, max_bytes=10**6) for _ in range(2)]
        self.expected: dict[str, list[str]] = {}

    @rule(replica=replicas, picture=pictures, label=labels)
    def add(self, replica: int, picture: int, label: str) -> None:
        said = self.expected.get(IDS[picture], [])
        try:
            sample, is_new = self.samples[replica].add("mnist", PICTURES[picture], label, Provenance("law"))
        except SampleQuotaExceeded:
            assert not said
            assert len(self.expected) >= MOST
            return
        assert (sample.id, sample.label) == (IDS[picture], label)
        assert is_new or said[-1] == label  # what the other has just added may be taken for new
        if not said or said[-1] != label:
            self.expected[IDS[picture]] = [*said, label]

    @rule(replica=replicas, label=labels)
    def delete_label(self, replica: int, label: str) -> None:
        gone = [sample_id for sample_id, said in self.expected.items() if said[-1] == label]
        assert self.samples[replica].delete("mnist", sample_filter(label=label)) == len(gone)
        for sample_id in gone:
            del self.expected[sample_id]

    @rule(replica=replicas, picture=pictures)
    def delete_one(self, replica: int, picture: int) -> None:
        deleted = self.samples[replica].delete("mnist", lambda entry: entry.sample_id == IDS[picture])
        assert deleted == (self.expected.pop(IDS[picture], None) is not None)

    @invariant()
    def both_agree_with_the_dictionary(self) -> None:
        for samples in self.samples:
            entries = samples.list("mnist")
            assert {entry.sample_id: entry.label for entry in entries} == {
                sample_id: said[-1] for sample_id, said in self.expected.items()
            }
            assert sum(count_by_label(entries).values()) == len(self.expected)
            for sample_id, said in self.expected.items():
                history = [label.label for label in samples.get("mnist", sample_id).history]
                assert history == list(reversed(said))[: len(history)]
                assert len(history) >= min(len(said), 4)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


@pytest.fixture(autouse=True)
def refusing_by_a_new_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.samples.store._REFUSAL_MAX_AGE_SECONDS", 0.0)


TestTwoReplicas = TwoReplicas.TestCase
TestTwoReplicas.settings = settings(
    max_examples=30, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
