"""What killed processes have left in the store goes, what living ones hold stays."""

from pathlib import Path

from service.jobs.cleanup import OrphanedObjects
from service.registry.registry import Registry
from service.registry.store import Store, open_store
from service.registry.version_locks import hold_lock
from tests.service.conftest import half_trained


def test_claims_and_staged_objects_go_once_they_were_seen_for_an_hour(store: Store) -> None:
    registry = Registry(store)
    for seed in range(2):
        registry.publish("mnist", *half_trained(seed=seed))
    kept = store.list("models")
    store.put("models/mnist/2/promoting/1-dead", b"")
    store.put("models/mnist/2/deleting/9999999999-of-a-wrong-clock", b"")
    now = [0.0]
    leftovers = OrphanedObjects(store, lambda: now[-1])
    assert leftovers.delete_expired() == 0
    now.append(3000.0)
    with hold_lock(store, registry.version_prefix("mnist", 1), "promoting"):
        assert leftovers.delete_expired() == 0
        now.append(4000.0)
        assert leftovers.delete_expired() == 2
        assert len(store.list("models")) == len(kept) + 1
    assert store.list("models") == kept


def test_a_deletion_that_was_cut_off_is_left_to_the_next_collection(store: Store) -> None:
    store.put("models/mnist/1/deleting/1-dead", b"")
    store.put("models/mnist/1/weights.npz", b"")
    now = [0.0]
    leftovers = OrphanedObjects(store, lambda: now[-1])
    for passed in (0.0, 4000.0):
        now.append(passed)
        assert leftovers.delete_expired() == 0


def test_staged_files_of_a_killed_process_go(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("models/mnist/1/weights.npz", b"whole")
    (tmp_path / ".staging").mkdir(exist_ok=True)
    (tmp_path / ".staging" / "0123456789abcdef").write_bytes(b"half")
    now = [0.0]
    leftovers = OrphanedObjects(store, lambda: now[-1])
    assert leftovers.delete_expired() == 0
    now.append(3601.0)
    assert leftovers.delete_expired() == 1
    assert [*(tmp_path / ".staging").iterdir()] == []
    assert store.get("models/mnist/1/weights.npz") == b"whole"
