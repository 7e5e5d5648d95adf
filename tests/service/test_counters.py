"""Counts that are written down, added up and shown."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.observability.counters import CounterTable, Family
from service.observability.exposition import exposition

FAMILIES = (
    Family("things", "counter", "Things.", ("kind",)),
    Family("seconds", "histogram", "Seconds.", bounds=(0.1, 1.0)),
    Family("trouble", "gauge", "Trouble.", is_shared=True),
    Family("running", "gauge", "Running."),
)


def filled(things: dict[str, int], cells: list[int], trouble: int) -> CounterTable:
    tallies = CounterTable(FAMILIES)
    for kind, count in things.items():
        tallies.get("things", kind)[0] += count
    tallies.add("seconds", (), [float(cell) for cell in cells])
    tallies.get("trouble")[0] = trouble
    tallies.get("running")[0] = 1
    return tallies


counts = st.builds(
    filled,
    st.dictionaries(st.sampled_from(["a", 'b"\n\\', "ü"]), st.integers(0, 9)),
    st.lists(st.integers(0, 9), min_size=4, max_size=4),
    st.integers(0, 1),
)


@given(st.lists(counts, min_size=1, max_size=4), st.randoms())
def test_the_sum_of_several_is_the_same_in_any_order(several: list[CounterTable], random: object) -> None:
    def total(order: list[CounterTable]) -> dict[str, object]:
        sums = CounterTable(FAMILIES)
        for one in order:
            sums.merge(json.loads(json.dumps(one.to_json())))
        return {name: sorted(samples) for name, samples in sums.to_json().items()}

    shuffled = list(several)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    sums = total(several)
    assert sums == total(shuffled)
    assert sums["running"] == [[[], [len(several)]]]
    assert sums["trouble"] == [[[], [max(one.get("trouble")[0] for one in several)]]]


def test_what_is_shown_is_cumulative_and_escaped() -> None:
    shown = exposition(filled({'b"\n\\': 2}, [1, 2, 3, 44], 0)).decode()
    assert 'things_total{kind="b\\"\\n\\\\"} 2.0' in shown
    assert 'seconds_bucket{le="0.1"} 1.0' in shown
    assert 'seconds_bucket{le="1.0"} 3.0' in shown
    assert 'seconds_bucket{le="+Inf"} 6.0' in shown
    assert "seconds_sum 44.0" in shown
    assert "seconds_count 6.0" in shown


@pytest.mark.parametrize("foreign", [{"gone": [[[], [1.0]]]}, {"things": [[[], [1.0]]]}, {"seconds": [[[], [1.0]]]}])
def test_what_another_release_wrote_is_passed_over(foreign: dict[str, object]) -> None:
    tallies = CounterTable(FAMILIES)
    before = exposition(tallies)
    tallies.merge(foreign)
    assert exposition(tallies) == before
