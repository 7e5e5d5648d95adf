from pathlib import Path
from random import Random

import httpx
import pytest

from tests.fuzz.sockets import complaint_about, exchange, run, seeds
from tests.hostile.started import impatient_server

pytestmark = pytest.mark.slow


def test_changed_requests_are_answered_alike_by_all_ways_and_health_answers(tmp_path: Path) -> None:
    with impatient_server(tmp_path / "home") as server:
        port = httpx.URL(server.url).port or 80
        for message in seeds():
            assert exchange(port, [message]).count(b"\n200 ") == message.count(b" HTTP/1.1\r\n")
            assert complaint_about(port, message, Random(0)) == ""
        complaints = [complaint for _, complaint in run(port, 2, 0) if complaint]
    assert complaints == []
    assert "Traceback" not in server.output
