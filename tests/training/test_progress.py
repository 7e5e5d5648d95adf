"""How an epoch is told while it goes on, by a clock of our own."""

import pytest

from training.cli.progress import Pace
from training.fit.config import FitConfig
from training.fit.history import LossAndAccuracy

SCORE = LossAndAccuracy(0.5, 0.9)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_figures_come_when_they_are_due_and_give_step_speed_and_time_left(clock: Clock) -> None:
    pace = Pace(FitConfig(epochs=3, batch_size=10), clock=clock)
    told = []
    for step in range(1, 11):
        clock.now += 0.2
        if figures := pace.on_step(step, 10, SCORE):
            told.append(figures)
    assert [figures["step"] for figures in told] == [3, 6, 9]
    assert told[0]["images_per_second"] == pytest.approx(50)
    assert told[0]["seconds_left"] == pytest.approx(27 * 0.2, abs=0.05)
    assert (told[0]["epoch"], told[0]["train_loss"], told[0]["train_accuracy"]) == (1, 0.5, 0.9)


def test_the_next_epoch_has_a_speed_of_its_own_and_less_time_left(clock: Clock) -> None:
    pace = Pace(FitConfig(epochs=8, batch_size=10), 5, clock=clock)
    clock.now += 1
    first = pace.on_step(10, 10, SCORE)
    pace.epoch()
    clock.now += 4
    second = pace.on_step(1, 10, SCORE)
    assert first is not None
    assert second is not None
    assert (first["epoch"], second["epoch"]) == (6, 7)
    assert second["images_per_second"] == pytest.approx(2.5)
    assert second["seconds_left"] == pytest.approx(19 * 5 / 2)


def test_a_limit_of_steps_or_seconds_shortens_the_time_left(clock: Clock) -> None:
    by_steps = Pace(FitConfig(epochs=100, max_steps=5), clock=clock)
    by_time = Pace(FitConfig(epochs=100, max_seconds=3), clock=clock)
    clock.now += 1
    steps, seconds = by_steps.on_step(1, 10, SCORE), by_time.on_step(1, 10, SCORE)
    assert steps is not None
    assert seconds is not None
    assert (steps["seconds_left"], seconds["seconds_left"]) == (4, 2)
