"""All named hostile inputs and some mutated ones against a real server (R1 in small; all of it: benchmarks.hostile)."""

from collections.abc import Iterator

import httpx
import pytest

from tests.hostile.corpus import mutated, named
from tests.hostile.judge import ask_all, memory_kib
from tests.hostile.pictures import digit, encoded
from tests.hostile.started import impatient_server
from tests.service.conftest import Server
from tests.service.processes import apis_of

pytestmark = pytest.mark.slow

MUTANTS = 300
KEPT_MEBIBYTES = 24


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with impatient_server(tmp_path_factory.mktemp("hasty") / "home") as server:
        yield server


def port_of(server: Server) -> int:
    return httpx.URL(server.url).port or 80


def complaints(server: Server, *, mutants: bool) -> list[str]:
    inputs = [*mutated(MUTANTS)] if mutants else named()
    outcomes = ask_all(port_of(server), inputs)
    return [f"{outcome.hostile.name}: {outcome.complaint}" for outcome in outcomes if outcome.complaint]


def test_there_are_many_hostile_inputs_and_each_has_a_name_of_its_own() -> None:
    names = [hostile.name for hostile in named()]
    assert len(names) == len(set(names)) > 500


@pytest.mark.parametrize("mutants", [False, True])
def test_no_hostile_input_gets_a_5xx_or_an_error_of_another_shape(*, mutants: bool, hasty: Server) -> None:
    assert complaints(hasty, mutants=mutants) == []
    assert hasty.http.get("/health/ready").status_code == 200


def test_large_pictures_leave_no_memory_behind(server: Server) -> None:
    def send(size: tuple[int, int]) -> None:
        for kind in ("PNG", "JPEG", "GIF"):
            content = encoded(digit("L", size), kind)
            answer = server.http.post("/predict", content=content, headers={"Content-Type": f"image/{kind.lower()}"})
            assert answer.status_code in (200, 422)

    send((300, 300))
    before = memory_kib(apis_of(server)[0])
    for _ in range(4):
        send((2000, 2000))
    assert (memory_kib(apis_of(server)[0]) - before) / 1024 < KEPT_MEBIBYTES
