from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutation import mutated
from tests.fuzz.readers import readers

FOUND = sorted(Path(__file__).with_name("found").rglob("*.bin"))


@pytest.mark.parametrize("name", readers())
def test_good_inputs_are_read_as_the_ordinary_readers_read_them(name: str) -> None:
    reader = readers()[name]
    for content in reader.seeds():
        reader.check(content)


@pytest.mark.parametrize("name", readers())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(random=st.randoms(use_true_random=False))
def test_changed_inputs_are_read_alike_or_refused(name: str, random: Random) -> None:
    reader = readers()[name]
    reader.check(mutated(reader.seeds(), random))


@pytest.mark.parametrize("name", readers())
@settings(max_examples=30, deadline=None)
@given(content=st.binary(max_size=100))
def test_any_bytes_are_read_alike_or_refused(name: str, content: bytes) -> None:
    readers()[name].check(content)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_once_broke_a_reader_does_so_no_more(path: Path) -> None:
    readers()[path.parent.name].check(path.read_bytes())
