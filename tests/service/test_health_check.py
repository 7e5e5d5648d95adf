"""The image's health check, run as the image runs it, against a real server."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.conftest import Server

ROOT = Path(__file__).parents[2]


def checked(port: int) -> int:
    found = re.search(r"HEALTHCHECK [^\[]*CMD (\[.*\])", (ROOT / "Dockerfile").read_text())
    assert found
    program, *arguments = json.loads(found[1].replace("8000", str(port)))
    assert program == "python"
    return subprocess.run([sys.executable, *arguments], capture_output=True, timeout=180, check=False).returncode


@pytest.mark.slow
def test_it_is_well_where_a_model_answers_and_ill_where_nothing_or_something_else_does(server: Server) -> None:
    assert checked(int(server.url.rpartition(":")[2])) == 0
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert checked(closed.getsockname()[1]) != 0
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert checked(silent.getsockname()[1]) != 0


def test_no_image_floats_with_what_is_newest() -> None:
    files = [ROOT / name for name in ("Dockerfile", "docker-compose.yml", "docker-compose.scale.yml")]
    for file in files:
        for line in file.read_text().splitlines():
            named = re.match(r"(?:FROM|\s*image:) (.*)", line)
            assert not named or "glyphserve:latest" in named[1] or "latest" not in named[1], line
