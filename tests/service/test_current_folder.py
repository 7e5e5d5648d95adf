"""What lies in the current folder is data: no process of the service or the library runs it."""

import ast
import subprocess
import sys
import sysconfig
from itertools import pairwise
from pathlib import Path

import pytest

from tests.service.conftest import COMMAND, running_server
from tests.service.processes import QUICK

ROOT = Path(__file__).parents[2]
SCRIPT = (str(Path(sysconfig.get_path("scripts")) / "glyphserve"),)
AS_USERS_TYPE = (sys.executable, "-m", "service")
TRAP = """from pathlib import Path
Path({found!r}).open("a").write(__file__ + chr(10))
raise SystemExit("run from the current folder")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of somebody who names files as they like; what is run of them is written to `found`."""
    folder = tmp_path / "current"
    names = ("service.py", "training/__init__.py", "training/__main__.py", "numpy.py", "json.py", "dbos.py", "typer.py")
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(TRAP.format(found=str(tmp_path / "found")))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("command", [SCRIPT, COMMAND, AS_USERS_TYPE], ids=["script", "safe_path", "module"])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_job_is_trained_where_the_current_folder_has_modules_of_the_same_names(
    command: tuple[str, ...], processes: str, folder: Path, tmp_path: Path
) -> None:
    if command == AS_USERS_TYPE:
        (folder / "service.py").unlink()  # which Python would have run before any code of ours
    with running_server(tmp_path / "home", "--processes", processes, command=command, folder=folder) as server:
        job = server.submit(settings=QUICK, promote="never")
        server.wait_for(job["id"], "succeeded")
    assert not (tmp_path / "found").exists(), (tmp_path / "found").read_text()


def test_the_librarys_command_as_documented_runs_nothing_of_the_current_folder(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "training", "fit", "--set", "epochs=1", "--set", "layers=784,8,10"]
    subprocess.run([*command, "--out", str(tmp_path / "run")], cwd=folder, check=True, capture_output=True, timeout=180)
    assert not (tmp_path / "found").exists(), (tmp_path / "found").read_text()


def commands_of(source: str) -> list[list[str]]:
    """Find the lists and tuples that start a module of ours, as their constant parts."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.List | ast.Tuple):
            words = [str(part.value) for part in node.elts if isinstance(part, ast.Constant)]
            if any(pair in [("-m", "service"), ("-m", "training")] for pair in pairwise(words)):
                found.append(words)
    return found


@pytest.mark.parametrize("part", ["service", "training", "tests", "benchmarks"])
def test_every_command_of_ours_is_started_with_a_safe_path(part: str) -> None:
    for path in (ROOT / part).rglob("*.py"):
        unsafe = [words for words in commands_of(path.read_text()) if "-P" not in words]
        assert not unsafe or path.name == Path(__file__).name, (path, unsafe)
