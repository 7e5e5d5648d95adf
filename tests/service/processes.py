"""Looking at the processes of a started service, and the trainings that tests ask it for."""

import subprocess
from pathlib import Path
from typing import Any, Protocol

from tests.service.conftest import Server, wait_until

QUICK: dict[str, Any] = {"epochs": 2, "layers": [784, 16, 10]}
ENDLESS: dict[str, Any] = {"epochs": 100_000, "layers": [784, 16, 10]}


class Started(Protocol):
    """What has a process."""

    process: "subprocess.Popen[str]"


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


def apis_of(server: Started) -> list[int]:
    """Find the API processes of a started service: all its children but the worker."""
    return sorted(pid for pid, line in children_of(server.process.pid).items() if "service worker" not in line)


def worker_of(server: Server) -> int:
    def find() -> int:
        return next((pid for pid, line in children_of(server.process.pid).items() if "worker" in line), 0)

    return int(wait_until(find, "a worker process"))


def trainers_of(worker: int) -> dict[int, str]:
    return {pid: line for pid, line in children_of(worker).items() if "-m training fit" in line}
