import math

import pytest

from training.fit.schedules import SCHEDULES

GOLDEN: dict[str, tuple[dict[str, float], list[float]]] = {
    "constant": ({}, [1, 1, 1, 1, 1]),
    "step_decay": ({"drops": 1, "factor": 0.5}, [1, 1, 0.5, 0.5, 0.5]),
    "exponential": ({"final": 0.0625}, [1, 0.5, 0.25, 0.125, 0.0625]),
    "cosine": ({}, [1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125), 0]),
    "cosine_restarts": ({"cycles": 2, "peak": 0.5}, [1, 0.5, 0.5, 0.25, 0]),
    "warm_up": ({"share": 0.5}, [0.5, 1, 1, 1, 1]),
    "triangular": ({"cycles": 1, "low": 0.0}, [0, 0.5, 1, 0.5, 0]),
}


def test_every_schedule_is_held_against_its_formula() -> None:
    assert set(GOLDEN) | {"one_cycle"} == set(SCHEDULES)


@pytest.mark.parametrize("name", GOLDEN)
def test_rates_follow_the_formula_over_a_run_of_four_steps(name: str) -> None:
    options, rates = GOLDEN[name]
    schedule = SCHEDULES[name](2.0, 4, **options)
    assert [schedule(step) for step in range(5)] == pytest.approx([2 * rate for rate in rates], abs=1e-12)


def test_cosine_warms_up_in_a_straight_line() -> None:
    schedule = SCHEDULES["cosine"](1.0, 100, warm_up=0.1)
    assert [schedule(step) for step in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])


def test_the_first_cycle_with_restarts_is_that_of_a_run_of_its_length_without_to_the_bit() -> None:
    restarted = SCHEDULES["cosine_restarts"](0.3, 250, cycles=2, growth=1.5, peak=0.5, warm_up=0.1)
    alone, second = SCHEDULES["cosine"](0.3, 100, warm_up=0.1), SCHEDULES["cosine"](0.15, 150)
    assert [restarted(step) for step in range(100)] == [alone(step) for step in range(100)]
    assert [restarted(step) for step in range(100, 250)] == [second(step) for step in range(150)]


def test_one_cycle_starts_low_peaks_and_ends_far_below() -> None:
    schedule = SCHEDULES["one_cycle"](1.0, 100, rise=0.3, start=0.04, final=1e-4)
    rates = [schedule(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.04)
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 29
    assert rates[-1] == pytest.approx(1e-4)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_short_runs_and_steps_past_the_end_get_a_rate_within_bounds(name: str, steps: int) -> None:
    schedule = SCHEDULES[name](0.1, steps)
    assert all(0 <= schedule(step) <= 0.1 + 1e-12 for step in range(steps + 5))
