"""How a process learns that it is to end."""

import signal
import subprocess
import sys

import pytest

WAITING = """
import signal
from service.signals import shutdown_waiter
wait = shutdown_waiter(at_end_of_input=True)
print("ready", flush=True)
while True:
    if (received := wait(0.0001)) is not None:
        print(signal.Signals(received).name, flush=True)
"""


@pytest.fixture
def waiting() -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_every_signal_is_heard_in_whatever_moment_it_comes(waiting: "subprocess.Popen[str]") -> None:
    with waiting:
        assert waiting.stdout is not None
        for number in (signal.SIGTERM, signal.SIGINT) * 200:
            waiting.send_signal(number)
            assert waiting.stdout.readline() == f"{number.name}\n"
        waiting.kill()


def test_the_end_of_input_counts_what_is_written_there_does_not(waiting: "subprocess.Popen[str]") -> None:
    with waiting:
        assert waiting.stdin is not None
        assert waiting.stdout is not None
        waiting.stdin.write("still here\n")
        waiting.stdin.flush()
        waiting.send_signal(signal.SIGINT)
        assert waiting.stdout.readline() == "SIGINT\n"
        waiting.stdin.close()
        assert waiting.stdout.readline() == "SIGTERM\n"
        waiting.kill()
