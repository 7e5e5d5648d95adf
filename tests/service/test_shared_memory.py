"""The pages that API processes share, with a real process that writes."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from service.observability.shared_memory import PeerProcesses, SharedPages

WRITER = """
import sys
from service.observability.shared_memory import PeerProcesses, SharedPages
peers = PeerProcesses(SharedPages(int(sys.argv[1]), 2), 1)
for number in range(20_000):
    peers.write({"number": number, "filling": [number] * (number % 500)})
    if number == 0:
        print("begun", flush=True)
        sys.stdin.readline()
sys.stdin.read()
"""


@pytest.fixture
def pages() -> Iterator[SharedPages]:
    pages = SharedPages.create(2)
    yield pages
    pages.close()


def test_what_another_process_writes_is_read_whole_while_it_writes_and_after_it_was_killed(pages: SharedPages) -> None:
    mine = PeerProcesses(pages, 0)
    assert mine.peer_pages() == []
    seen: list[int] = []
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(pages.fd)],
        pass_fds=[pages.fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdin is not None
        assert writer.stdout.readline() == b"begun\n"
        (first,) = mine.peer_pages()
        seen.append(first["number"])
        writer.stdin.write(b"go on\n")
        writer.stdin.flush()
        while seen[-1] < 19_999:
            for page in mine.peer_pages():  # none while the writer is faster than any look at its page
                assert page["filling"] == [page["number"]] * (page["number"] % 500)
                assert (page["pid"], page["is_alive"]) == (writer.pid, True)
                seen.append(page["number"])
        writer.kill()
    assert seen == sorted(seen)
    assert len(set(seen)) > 1
    (page,) = mine.peer_pages()
    assert (page["number"], page["is_alive"]) == (19_999, False)
    assert PeerProcesses(pages, 1).previous_page["number"] == 19_999


def test_a_page_that_is_too_long_leaves_the_one_before(pages: SharedPages, caplog: pytest.LogCaptureFixture) -> None:
    pages.write(0, {"text": "short"})
    pages.write(0, {"text": "x" * 3 * 1024**2})
    assert pages.read(0) == {"text": "short"}
    assert "too long" in caplog.text


def test_a_damaged_page_is_none(pages: SharedPages) -> None:
    pages.write(1, {"text": "whole"})
    pages._memory[2 * 1024**2 + 12] ^= 1
    assert pages.read(1) is None
