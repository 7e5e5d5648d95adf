import numpy as np
import pytest

from training.evaluation import metrics


def test_accuracy_counts_the_largest_entry() -> None:
    probabilities = np.array([[0.6, 0.4], [0.3, 0.7], [0.2, 0.8]])
    assert metrics.accuracy(probabilities, np.array([0, 1, 0])) == pytest.approx(2 / 3)


def test_top_k_grows_with_k_up_to_everything(rng: np.random.Generator) -> None:
    probabilities, labels = rng.dirichlet(np.ones(6), size=200), rng.integers(0, 6, 200)
    shares = [metrics.top_k_accuracy(probabilities, labels, k) for k in range(1, 8)]
    assert shares == sorted(shares)
    assert shares[0] == metrics.accuracy(probabilities, labels)
    assert shares[5] == shares[6] == 1.0


def test_the_confusion_matrix_has_truth_in_rows() -> None:
    confusion = metrics.confusion_matrix(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]), 3)
    assert confusion.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]


def test_the_report_reads_precision_recall_and_f1_off_it() -> None:
    report = metrics.class_report(np.array([[8, 2, 0], [1, 9, 0], [0, 0, 0]]))
    assert report.precision == pytest.approx([8 / 9, 9 / 11, 0])
    assert report.recall == pytest.approx([0.8, 0.9, 0])
    assert report.f1 == pytest.approx([16 / 19, 18 / 21, 0])
    assert report.support.tolist() == [10, 10, 0]


def test_calibration_error_is_0_for_honest_confidence_and_the_gap_for_boasting() -> None:
    probabilities = np.tile([0.75, 0.25], (400, 1))
    labels = np.repeat([0, 0, 0, 1], 100)
    assert metrics.expected_calibration_error(probabilities, labels) == pytest.approx(0)
    assert metrics.expected_calibration_error(np.tile([1.0, 0.0], (400, 1)), labels) == pytest.approx(0.25)
