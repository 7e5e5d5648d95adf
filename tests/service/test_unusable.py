"""What a user can mend is told in one line that says what to do, by every command, and never by a traceback."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from service.api.auth import Authorizer
from service.api.keys import Keys
from service.api.problem_details import error_headers
from service.errors import Unauthorized
from service.registry.store import open_store
from service.settings import Settings
from tests.service.conftest import COMMAND, wait_until

COMMANDS = {
    "serve": ["serve", "--port", "0"],
    "serve_processes": ["serve", "--port", "0", "--processes", "2"],
    "worker": ["worker"],
    "train": ["train"],
    "models": ["models", "list"],
    "jobs": ["jobs", "list"],
    "keys": ["keys", "list"],
    "samples": ["samples", "list"],
    "backup": ["backup", "monday.tar.gz"],
    "predict": ["predict", "digit.png"],
}


def run(
    *arguments: str, program: tuple[str, ...] = COMMAND, folder: Path | None = None, **variables: str
) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {name: value for name, value in variables.items() if name != "folder"}
    return subprocess.run(
        [*program, *arguments], env=environment, cwd=folder, capture_output=True, text=True, timeout=180, check=False
    )


def assert_one_line(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    assert done.returncode in (1, 2), done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_home_that_is_a_file_is_told_by_every_command(command: str, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    done = run(*COMMANDS[command], folder=tmp_path, GLYPHSERVE_HOME=str(tmp_path / "home"))
    assert_one_line(done, "GLYPHSERVE_HOME", str(tmp_path / "home"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
@pytest.mark.parametrize("command", ["serve", "worker", "models"])
def test_a_home_without_permission_is_told(command: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        done = run(*COMMANDS[command], GLYPHSERVE_HOME=str(tmp_path / "home"))
    finally:
        tmp_path.chmod(0o755)
    assert_one_line(done, "GLYPHSERVE_HOME", "Permission denied")


@pytest.mark.parametrize("command", ["serve", "worker", "jobs", "models"])
@pytest.mark.parametrize("url", ["nonsense", "mysql://user@host/name"])
def test_a_wrong_database_url_is_told(command: str, url: str, tmp_path: Path) -> None:
    done = run(*COMMANDS[command], GLYPHSERVE_HOME=str(tmp_path), GLYPHSERVE_DATABASE_URL=url)
    assert_one_line(done, "GLYPHSERVE_DATABASE_URL", "sqlite:///", "postgresql")


@pytest.mark.parametrize("command", ["serve", "worker", "models", "keys"])
def test_a_wrong_store_url_is_told(command: str, tmp_path: Path) -> None:
    done = run(*COMMANDS[command], GLYPHSERVE_HOME=str(tmp_path), GLYPHSERVE_STORE_URL="gopher://host/store")
    assert_one_line(done, "STORE_URL", "s3://bucket/prefix")


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_port_that_is_taken_is_told(processes: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("serve", "--home", str(tmp_path), "--port", port, "--processes", processes)
    assert_one_line(done, f"127.0.0.1:{port}", "in use", "--port")


def test_a_misspelt_variable_is_named_with_the_nearest_setting(tmp_path: Path) -> None:
    done = run("models", "list", GLYPHSERVE_HOME=str(tmp_path), GLYPHSERVE_PROCESES="2", GLYPHSERVE_DATA_DIR="x")
    assert done.returncode == 0, done.stderr
    warned = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert warned == [
        "warning: GLYPHSERVE_PROCESES is not a setting and is ignored; did you mean GLYPHSERVE_PROCESSES?"
    ]


def test_ready_is_not_said_before_the_configured_model_answers(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"GLYPHSERVE_MODEL": "mnits"}
    command = [*COMMAND, "serve", "--no-worker", "--home", str(tmp_path), "--port", str(port)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:  # type: ignore[call-overload]
        assert any("GLYPHSERVE_MODEL=mnits" in line for line in process.stderr)
        wait_until(lambda: httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=180).status_code == 503, "503")
        process.terminate()
        said, _ = process.communicate(timeout=180)
    assert process.returncode == 0
    assert said == ""


@pytest.mark.parametrize("arguments", [["plot", "weights.npz"], ["fit", "--plots", "--set", "epochs=100000"]])
def test_the_librarys_pictures_without_matplotlib_are_told(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ModuleNotFoundError('no matplotlib', name='matplotlib')")
    program = (sys.executable, "-P", "-m", "training")
    done = run(*arguments, program=program, folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert_one_line(done, "matplotlib", "pip install")


def test_a_wrong_key_is_told_from_a_missing_one(settings: Settings) -> None:
    keys = Keys(open_store(settings.store_location))
    _, good = keys.create(("admin",))
    authorizer = Authorizer(keys, settings)
    authorizer.refresh()
    authorizer.authorize(f"Bearer {good}".encode(), "train")
    told = {}
    for name, shown in {
        "none": None,
        "another scheme": b"Basic Zm9v",
        "cut off": f"Bearer {good[:-1]}".encode(),
        "unknown": f"Bearer gs_aaaaaaaa_{'a' * 43}".encode(),
    }.items():
        with pytest.raises(Unauthorized) as caught:
            authorizer.authorize(shown, "train")
        told[name] = (str(caught.value), error_headers(caught.value)["www-authenticate"])
    invalid = 'Bearer error="invalid_token"'
    assert [header for _, header in told.values()] == ["Bearer", "Bearer", invalid, invalid]
    assert len({detail for detail, _ in told.values()}) == 3
