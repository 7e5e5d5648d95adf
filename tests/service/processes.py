"""Looking at the processes of a started service, and the trainings that tests ask it for."""

from pathlib import Path
from typing import Any

from tests.service.conftest import Server, wait_until

QUICK: dict[str, Any] = {"epochs": 2, "layers": [784, 16, 10]}
ENDLESS: dict[str, Any] = {"epochs": 100_000, "layers": [784, 16, 10]}


def children_of(pid: int) -> dict[int, str]:
    """Find a process's children and their command lines."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:  # it ended while we looked
            continue
    return found


def worker_of(server: Server) -> int:
    def find() -> int:
        return next((pid for pid, line in children_of(server.process.pid).items() if "worker" in line), 0)

    return int(wait_until(find, "a worker process"))


def trainers_of(worker: int) -> dict[int, str]:
    return {pid: line for pid, line in children_of(worker).items() if "-m training fit" in line}
