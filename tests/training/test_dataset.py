import numpy as np
import pytest

from training.data import Dataset, stratified_split
from training.errors import DataError

IMAGES = np.arange(6 * 784, dtype=np.int64).reshape(6, 28, 28).astype(np.uint8)
LABELS = np.array([0, 1, 2, 2, 1, 0])


@pytest.fixture
def dataset() -> Dataset:
    return Dataset("six", IMAGES, LABELS, ("a", "b", "c"))


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (IMAGES.astype(float), LABELS, "expected images of uint8"),
        (IMAGES[:, :20], LABELS, r"got uint8 \(6, 20, 28\)"),
        (IMAGES.reshape(6, 784), LABELS, r"expected images of uint8 \(n, 28, 28\)"),
        (IMAGES, LABELS[:5], "6 images but labels of shape"),
        (IMAGES, LABELS + 1, "labels must be 0 to 2, found 3"),
        (IMAGES, LABELS - 1, "labels must be 0 to 2"),
    ],
)
def test_pictures_and_labels_that_do_not_fit_are_refused(images: np.ndarray, labels: np.ndarray, says: str) -> None:
    with pytest.raises(DataError, match=says):
        Dataset("six", images, labels, ("a", "b", "c"))


def test_an_empty_set_is_a_set() -> None:
    assert len(Dataset("none", IMAGES[:0], LABELS[:0])) == 0


def test_taking_rows_keeps_their_order(dataset: Dataset) -> None:
    taken = dataset.select(np.array([4, 0]))
    assert taken.labels.tolist() == [1, 0]
    np.testing.assert_array_equal(taken.images, IMAGES[[4, 0]])


def test_keeping_classes_numbers_them_anew_in_the_order_given(dataset: Dataset) -> None:
    kept = dataset.filter_classes([2, 0])
    assert kept.classes == ("c", "a")
    assert kept.labels.tolist() == [1, 0, 0, 1]
    np.testing.assert_array_equal(kept.images, IMAGES[[0, 2, 3, 5]])
    for impossible in ([], [3], [-1]):
        with pytest.raises(DataError, match="classes 0 to 2"):
            dataset.filter_classes(impossible)


def test_joining_puts_one_behind_the_other(dataset: Dataset) -> None:
    assert dataset.concat(dataset).labels.tolist() == [*LABELS, *LABELS]
    with pytest.raises(DataError, match="different classes"):
        dataset.concat(dataset.filter_classes([0, 1]))


def test_the_fingerprint_names_the_content_and_nothing_else(dataset: Dataset) -> None:
    same = Dataset("other name", IMAGES[::-1][::-1], LABELS.astype(np.int32), ("x", "y", "z"))
    assert same.fingerprint() == dataset.fingerprint()
    changed = IMAGES.copy()
    changed[0, 0, 0] ^= 1
    others = [Dataset("", changed, LABELS), Dataset("", IMAGES, LABELS[::-1].copy()), dataset.select(np.arange(5))]
    assert len({other.fingerprint() for other in [dataset, *others]}) >= 3


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_a_stratified_split_divides_every_class_alike(share: float, rng: np.random.Generator) -> None:
    labels = rng.permutation(np.repeat(np.arange(4), [100, 40, 20, 10]))
    kept, drawn = stratified_split(labels, share, rng)
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, drawn])), np.arange(170))
    np.testing.assert_array_equal(kept, np.sort(kept))
    np.testing.assert_allclose(np.bincount(labels[drawn]), np.array([100, 40, 20, 10]) * share, atol=0.5)


def test_a_split_depends_on_the_generator_alone() -> None:
    labels = np.repeat(np.arange(5), 20)
    one, same, other = (stratified_split(labels, 0.3, np.random.default_rng(seed))[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_every_class_keeps_an_example_and_something_must_be_drawn(rng: np.random.Generator) -> None:
    kept, _ = stratified_split(np.array([0, 0, 0, 1, 1, 2, 2]), 0.9, rng)
    assert set(np.array([0, 0, 0, 1, 1, 2, 2])[kept]) == {0, 1, 2}
    with pytest.raises(DataError, match="leaves none to hold out"):
        stratified_split(np.array([0, 1, 2]), 0.5, rng)
