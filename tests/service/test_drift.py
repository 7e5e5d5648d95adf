"""The index of drift, and the window that it is measured over."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.serving.drift import HALF_WINDOW, Baseline, Window, drift_psi, merge_windows, population_stability_index

GIVEN: dict[str, Any] = {
    "examples": 100,
    "ink": {"mean": 0.2, "std": 0.1, "edges": [0.1, 0.3], "shares": [0.25, 0.5, 0.25]},
    "classes": {"a": 0.5, "b": 0.5},
}


def test_the_index_is_that_of_the_formula() -> None:
    # By hand: shares .5 and .5 then, .75 and .25 now: .25 ln 1.5 − .25 ln .5 = .25 ln 3.
    assert population_stability_index([750_000, 250_000], [0.5, 0.5]) == pytest.approx(0.25 * math.log(3), rel=1e-4)


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=12))
def test_the_index_is_zero_for_what_was_expected_and_above_for_all_else(counts: list[int]) -> None:
    shares = [count / sum(counts) for count in counts]
    million = [share * 1e9 for share in shares]
    assert population_stability_index(million, shares) == pytest.approx(0, abs=1e-6)
    assert population_stability_index([*million[:-1], million[-1] + 1e9], shares) > 1e-5


def test_the_index_is_finite_where_a_part_is_empty() -> None:
    assert math.isfinite(population_stability_index([0, 10], [1.0, 0.0]))


@pytest.mark.parametrize(
    "damage",
    [
        None,
        [],
        {},
        GIVEN | {"ink": None},
        GIVEN | {"classes": {}},
        GIVEN | {"classes": {"a": "x"}},
        GIVEN | {"ink": GIVEN["ink"] | {"edges": [0.3, 0.1]}},
        GIVEN | {"ink": GIVEN["ink"] | {"shares": [1.0]}},
    ],
)
def test_a_baseline_that_cannot_be_read_is_none(damage: Any) -> None:
    assert Baseline.parse(damage) is None


def test_a_window_tells_of_the_last_images_and_forgets_those_before() -> None:
    baseline = Baseline.parse(GIVEN)
    assert baseline is not None
    window = Window("mnist", 1, baseline)
    rng = np.random.default_rng(0)

    def add(images: int, low: float, high: float, label: str) -> None:
        for _ in range(images // 100):
            window.add(rng.uniform(low, high, 100).astype(np.float32), [label] * 100)

    add(HALF_WINDOW, 0.0, 0.1, "a")
    seen = window.stats()
    assert (seen.images, seen.ink_bins[0], seen.labels["a"]) == (HALF_WINDOW, HALF_WINDOW, HALF_WINDOW)
    before = drift_psi(seen, baseline)
    add(2 * HALF_WINDOW, 0.0, 0.4, "b")
    seen = window.stats()
    assert seen.images == HALF_WINDOW
    assert seen.labels["a"] == 0
    assert seen.ink_bins == pytest.approx([HALF_WINDOW * share for share in (0.25, 0.5, 0.25)], rel=0.1)
    assert drift_psi(seen, baseline)["ink"] < 0.01 < before["ink"]


def test_written_windows_add_up() -> None:
    baseline = Baseline.parse(GIVEN)
    windows = [Window("mnist", version, baseline) for version in (1, 1, 2)]
    for number, window in enumerate(windows):
        window.add(np.full(10, 0.2 * number, np.float32), ["a"] * 9 + ["b"])
    found = merge_windows(json.loads(json.dumps([window.to_json() for window in windows])))
    seen, read = found["mnist", 1]
    assert (seen.images, seen.ink_bins, seen.labels) == (20, [10, 10, 0], {"a": 18, "b": 2})
    assert (read.ink_mean, dict(read.classes)) == (0.2, GIVEN["classes"]) if read else False
    assert found["mnist", 2][0].images == 10


def test_a_version_without_a_baseline_is_watched_without_an_index() -> None:
    window = Window("mnist", 1, None)
    window.add(np.full(200, 0.5, np.float32), ["a"] * 200)
    seen = window.stats()
    assert (seen.images, seen.ink_sum) == (200, 100.0)
