"""The samples on a store: kept once each, with their history, within bounds, and read back bit for bit."""

import io
import json
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from service.errors import BlankImage, InsufficientStorage, NotFound, SampleQuotaExceeded, UnprocessableContent
from service.registry.store import Store, open_store
from service.samples.export import to_npz, write_folder, write_zip
from service.samples.sample import Provenance, Sample
from service.samples.store import SampleStore, count_by_label, sample_filter
from training import Dataset
from training.data import load_dataset

BY_HAND = Provenance("by-hand", 1, "1", 0.5)


@pytest.fixture
def samples(store: Store) -> SampleStore:
    return SampleStore(store, max_samples=100, max_bytes=10**6)


def fill(samples: SampleStore, digits: Dataset, count: int) -> None:
    for image, label in zip(digits.images[:count], digits.labels[:count], strict=True):
        samples.add("mnist", image, str(label), BY_HAND)


def test_a_sample_is_kept_with_its_picture_its_label_and_where_it_came_from(
    samples: SampleStore, store: Store, digits: Dataset
) -> None:
    added, is_new = samples.add("mnist", digits.images[0], "7", Provenance("r-1", 3, "1", 0.875, "key"))
    assert is_new
    found = SampleStore(store, max_samples=1, max_bytes=10**6).get("mnist", added.id)  # as another process finds it
    assert found == added
    np.testing.assert_array_equal(found.glyph, digits.images[0])
    assert (found.model, found.label, found.source) == ("mnist", "7", Provenance("r-1", 3, "1", 0.875, "key"))


def test_the_same_picture_is_one_sample_and_its_newest_label_counts(samples: SampleStore, digits: Dataset) -> None:
    first, _ = samples.add("mnist", digits.images[0], "7", BY_HAND)
    again, is_new = samples.add("mnist", digits.images[0].copy(), "7", BY_HAND)
    assert (again, is_new) == (first, False)
    other, is_new = samples.add("mnist", digits.images[0], "1", BY_HAND)
    assert (other.id, other.label, is_new) == (first.id, "1", True)
    assert [said.label for said in samples.get("mnist", first.id).history] == ["1", "7"]
    assert count_by_label(samples.list("mnist")) == {"1": 1}


def test_of_many_labels_of_one_picture_the_newest_are_kept(samples: SampleStore, digits: Dataset) -> None:
    for turn in range(20):
        samples.add("mnist", digits.images[0], str(turn % 10), BY_HAND)
    (entry,) = samples.list("mnist")
    assert [said.label for said in samples.get("mnist", entry.sample_id).history] == list("98765432")


def test_two_replicas_that_label_one_picture_at_once_make_one_sample(store: Store, digits: Dataset) -> None:
    replicas = [SampleStore(store, max_samples=100, max_bytes=10**6) for _ in range(4)]
    together = threading.Barrier(8)

    def add(turn: int) -> None:
        together.wait()
        replicas[turn % 4].add("mnist", digits.images[0], "12"[turn % 2], BY_HAND)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    assert [len(replica.list("mnist")) for replica in replicas] == [1, 1, 1, 1]
    views = {replica.list("mnist")[0].label for replica in replicas}
    assert len(views) == 1
    assert views <= {"1", "2"}


def test_models_have_samples_of_their_own(samples: SampleStore, digits: Dataset) -> None:
    samples.add("mnist", digits.images[0], "7", BY_HAND)
    assert samples.list("mnist-2") == []
    samples.add("mnist-2", digits.images[0], "a", BY_HAND)
    assert [entry.label for entry in samples.list("mnist")] == ["7"]


def test_a_full_collection_takes_no_new_picture_but_still_puts_right_what_it_has(store: Store, digits: Dataset) -> None:
    samples = SampleStore(store, max_samples=3, max_bytes=10**6)
    fill(samples, digits, 3)
    with pytest.raises(SampleQuotaExceeded, match="3 samples"):
        samples.add("mnist", digits.images[3], "1", BY_HAND)
    _, is_new = samples.add("mnist", digits.images[0], "x", BY_HAND)
    assert is_new
    samples.delete("mnist", sample_filter(label="x"))
    samples.add("mnist", digits.images[3], "1", BY_HAND)
    assert len(samples.list("mnist")) == 3


def test_room_that_another_replica_made_is_found(
    store: Store, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (SampleStore(store, max_samples=2, max_bytes=10**6) for _ in range(2))
    fill(one, digits, 2)
    other.delete("mnist", sample_filter())
    monkeypatch.setattr("service.samples.store._REFUSAL_MAX_AGE_SECONDS", 0.0)
    assert one.add("mnist", digits.images[2], "7", BY_HAND)[1]


def test_bytes_are_bounded_too_and_nothing_is_lost_at_the_bound(store: Store, digits: Dataset) -> None:
    samples = SampleStore(store, max_samples=10**6, max_bytes=5000)
    with pytest.raises(SampleQuotaExceeded, match="5,000 bytes"):
        fill(samples, digits, 20)
    kept = list(samples.read_all("mnist"))
    assert 1 <= len(kept) < 20
    assert samples.list_with_size("mnist")[1] <= 5000


def test_deleting_by_label_and_age_leaves_the_others(samples: SampleStore, digits: Dataset) -> None:
    fill(samples, digits, 30)
    counts = count_by_label(samples.list("mnist"))
    assert samples.delete("mnist", sample_filter(label="3", older_than_days=1)) == 0
    assert samples.delete("mnist", sample_filter(label="3", older_than_days=0)) == counts["3"]
    assert "3" not in count_by_label(samples.list("mnist"))
    assert samples.delete("mnist", sample_filter()) == 30 - counts["3"]
    with pytest.raises(NotFound):
        samples.get("mnist", "0" * 32)


def test_what_another_replica_deleted_can_be_sent_again(store: Store, digits: Dataset) -> None:
    one, other = (SampleStore(store, max_samples=10, max_bytes=10**6) for _ in range(2))
    one.add("mnist", digits.images[0], "7", BY_HAND)
    other.delete("mnist", sample_filter())
    assert one.add("mnist", digits.images[0], "7", BY_HAND)[1]
    assert len(other.list("mnist")) == 1


def test_a_label_that_another_replica_gave_a_moment_ago_is_seen(store: Store, digits: Dataset) -> None:
    one, other = (SampleStore(store, max_samples=10, max_bytes=10**6) for _ in range(2))
    one.add("mnist", digits.images[0], "7", BY_HAND)
    other.add("mnist", digits.images[0], "1", BY_HAND)
    again, is_new = one.add("mnist", digits.images[0], "7", BY_HAND)
    assert is_new
    assert [said.label for said in again.history] == ["7", "1", "7"]


def test_damaged_and_foreign_objects_are_passed_over(samples: SampleStore, store: Store, digits: Dataset) -> None:
    fill(samples, digits, 5)
    first, second, *_ = samples.list("mnist")
    store.put(first.key, b"{}")
    store.put(second.key, store.get(samples.list("mnist")[2].key))  # whole, but another picture
    for foreign in (".DS_Store", f"{'0' * 32}-{'0' * 16}-7.json", f"{'0' * 32}.json"):
        store.put(f"samples/mnist/{foreign}", b"x")
    assert len(list(samples.read_all("mnist"))) == 3
    for entry in (first, second):
        with pytest.raises(NotFound):
            samples.get("mnist", entry.sample_id)
    assert samples.delete("mnist", sample_filter()) == 5
    store.put(f"samples/mnist/{'0' * 32}-{'0' * 16}-ff.json", b"x")
    assert [entry.label for entry in samples.list("mnist")] == ["\ufffd"]


@pytest.mark.parametrize("shade", [0, 255, 7])
def test_there_is_nothing_to_learn_from_a_blank_picture(samples: SampleStore, shade: int) -> None:
    with pytest.raises(BlankImage):
        samples.add("mnist", np.full((28, 28), shade, np.uint8), "7", BY_HAND)


def test_a_label_must_fit_into_a_name(samples: SampleStore, digits: Dataset) -> None:
    samples.add("mnist", digits.images[0], "é" * 32, BY_HAND)
    assert [sample.label for sample in samples.read_all("mnist")] == ["é" * 32]
    with pytest.raises(UnprocessableContent, match="64 bytes"):
        samples.add("mnist", digits.images[0], "é" * 33, BY_HAND)


def pictures(dataset: Dataset) -> set[tuple[bytes, str]]:
    return {
        (image.tobytes(), dataset.classes[label]) for image, label in zip(dataset.images, dataset.labels, strict=True)
    }


def test_a_folder_a_zip_and_an_npz_are_read_back_bit_for_bit(
    samples: SampleStore, digits: Dataset, tmp_path: Path
) -> None:
    fill(samples, digits, 60)
    expected = pictures(digits.select(np.arange(60)))
    assert write_folder(samples.read_all("mnist"), tmp_path / "folder") == 60
    assert pictures(load_dataset(str(tmp_path / "folder")).train) == expected
    packed = io.BytesIO()
    write_zip(samples.read_all("mnist"), packed)
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert pictures(load_dataset(str(tmp_path / "unpacked")).train) == expected
    listed = json.loads((tmp_path / "unpacked" / "samples.json").read_text())
    assert {sample["source"]["request_id"] for sample in listed} == {"by-hand"}
    (tmp_path / "set.npz").write_bytes(to_npz(samples.read_all("mnist")))
    assert pictures(load_dataset(str(tmp_path / "set.npz")).train) == expected


def test_a_set_of_samples_has_the_classes_that_they_have(samples: SampleStore, digits: Dataset) -> None:
    for row, label in enumerate(("seven", "1", "seven")):
        samples.add("mnist", digits.images[row], label, BY_HAND)
    with np.load(io.BytesIO(to_npz(samples.read_all("mnist")))) as members:
        assert members["classes"].tolist() == ["1", "seven"]
        assert np.bincount(members["labels"]).tolist() == [1, 2]
    with np.load(io.BytesIO(to_npz([]))) as members:
        assert members["images"].shape == (0, 28, 28)


def test_a_folder_must_be_empty_and_labels_must_name_folders(
    samples: SampleStore, digits: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "something").write_text("")
    with pytest.raises(UnprocessableContent, match="empty"):
        write_folder([], tmp_path)
    for label in ("../x", "a/b", ".", ".hidden", "a\\b"):
        samples.add("mnist", digits.images[0], label, BY_HAND)
        with pytest.raises(UnprocessableContent, match="folder"):
            write_folder(samples.read_all("mnist"), tmp_path / "folder")
        with pytest.raises(UnprocessableContent, match="folder"):
            write_zip(samples.read_all("mnist"), io.BytesIO())


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 KB, which fills up after a few dozen samples."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_on_a_full_disk_a_sample_is_refused_and_nothing_that_was_taken_is_lost(
    full_disk: Path, digits: Dataset
) -> None:
    samples = SampleStore(open_store(str(full_disk)), max_samples=10**6, max_bytes=10**9)
    taken: list[Sample] = []
    with pytest.raises(InsufficientStorage):
        taken.extend(samples.add("mnist", image, "7", BY_HAND)[0] for image in digits.images)
    assert len(taken) > 20
    with pytest.raises(InsufficientStorage):
        samples.add("mnist", taken[0].glyph, "1", BY_HAND)
    assert {sample.id for sample in samples.read_all("mnist")} == {sample.id for sample in taken}
    assert {sample.label for sample in samples.read_all("mnist")} == {"7"}
    assert list((full_disk / ".staging").iterdir()) == []
    assert samples.delete("mnist", lambda entry: entry.sample_id == taken[0].id) == 1
    assert samples.add("mnist", taken[0].glyph, "1", BY_HAND)[1]


def test_samples_deleted_while_others_read_are_left_out_and_nothing_breaks(
    samples: SampleStore, store: Store, digits: Dataset
) -> None:
    fill(samples, digits, 60)
    reading = samples.read_all("mnist")
    first = next(reading)
    assert SampleStore(store, max_samples=1, max_bytes=1).delete("mnist", sample_filter()) == 60
    rest = list(reading)
    assert len({sample.id for sample in (first, *rest)}) == 1 + len(rest) <= 60
    assert samples.list("mnist") == []
