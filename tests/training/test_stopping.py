import pytest

from training.fit.config import FitConfig
from training.fit.history import Epoch, LossAndAccuracy, best_epoch
from training.fit.stopping import stop_reason


def history(*accuracies: float, validated: bool = True, seconds: float = 1.0, update: float = 1.0) -> list[Epoch]:
    return [
        Epoch(
            number=number,
            epochs=100,
            step=10 * number,
            train=LossAndAccuracy(1.0, accuracy),
            validation=LossAndAccuracy(1 / number, accuracy) if validated else None,
            learning_rate=0.1,
            update=update,
            seconds=seconds,
            images_per_second=1.0,
        )
        for number, accuracy in enumerate(accuracies, start=1)
    ]


def test_training_begins_whatever_the_criteria() -> None:
    assert stop_reason(FitConfig(max_seconds=0, stop_at_update=1e9), []) is None


def test_epochs_and_steps_are_counted() -> None:
    assert stop_reason(FitConfig(epochs=3), history(0.1, 0.2)) is None
    assert stop_reason(FitConfig(epochs=2), history(0.1, 0.2)) == "2 epochs are done"
    assert stop_reason(FitConfig(epochs=9, max_steps=20), history(0.1, 0.2)) == "20 steps are done"


def test_a_low_error_rate_is_enough() -> None:
    assert stop_reason(FitConfig(epochs=9, stop_at_error=0.1), history(0.8)) is None
    assert stop_reason(FitConfig(epochs=9, stop_at_error=0.1), history(0.95)) == "the error rate is 0.0500"


def test_a_small_update_is_enough() -> None:
    assert stop_reason(FitConfig(epochs=9, stop_at_update=1e-3), history(0.8, update=1e-2)) is None
    assert "moved by more than 0.0001" in str(
        stop_reason(FitConfig(epochs=9, stop_at_update=1e-3), history(0.8, update=1e-4))
    )


def test_patience_ends_when_no_validation_is_better_for_so_long() -> None:
    config = FitConfig(epochs=9, patience=2)
    assert stop_reason(config, history(0.5, 0.4)) is None
    assert stop_reason(config, history(0.5, 0.4, 0.4)) == "no better than epoch 1 for 2 validations"
    assert stop_reason(config, history(0.5, 0.4, 0.6)) is None


def test_patience_counts_no_epoch_that_was_not_validated() -> None:
    assert stop_reason(FitConfig(epochs=9, patience=1), history(0.5, 0.4, 0.3, validated=False)) is None


def test_time_runs_out() -> None:
    assert stop_reason(FitConfig(epochs=9, max_seconds=3), history(0.5, 0.5)) is None
    assert stop_reason(FitConfig(epochs=9, max_seconds=2), history(0.5, 0.5)) == "2.0 s are over"


def test_the_best_epoch_has_the_highest_accuracy_and_then_the_lowest_loss() -> None:
    assert best_epoch([]) is None
    best = best_epoch(history(0.5, 0.9, 0.9, 0.7))
    assert best is not None
    assert best.number == 3  # as accurate as epoch 2, with a lower loss


def test_an_epoch_is_flat_json() -> None:
    figures = history(0.5)[0].to_dict()
    assert figures["validation_accuracy"] == 0.5
    assert figures["train_loss"] == 1.0
    assert all(not isinstance(value, dict | tuple) for value in figures.values())
    assert history(0.5, validated=False)[0].to_dict()["validation_loss"] is None


@pytest.mark.parametrize("count", [1, 3])
def test_steps_are_enough_in_the_middle_of_an_epoch_too(count: int) -> None:
    assert stop_reason(FitConfig(epochs=9, max_steps=10 * count), history(*[0.5] * count))
