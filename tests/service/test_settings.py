"""Settings come from variables, or from files that variables name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.errors import InvalidInput
from service.settings import Settings

SECRET = "postgresql+psycopg://glyphserve:hush@database/glyphserve"  # noqa: S105 -- made up


def test_a_setting_may_lie_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "database_url"
    file.write_text(f"{SECRET}\n")
    monkeypatch.setenv("GLYPHSERVE_DATABASE_URL_FILE", str(file))
    assert Settings().database_location == SECRET


def test_a_variable_wins_over_a_file_and_what_is_given_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "port"
    file.write_text("1111")
    monkeypatch.setenv("GLYPHSERVE_PORT_FILE", str(file))
    assert Settings().port == 1111
    monkeypatch.setenv("GLYPHSERVE_PORT", "2222")
    assert Settings().port == 2222
    assert Settings(port=3333).port == 3333


def test_a_file_that_cannot_be_read_is_told_by_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLYPHSERVE_DATABASE_URL_FILE", str(tmp_path / "missing"))
    with pytest.raises(InvalidInput, match="GLYPHSERVE_DATABASE_URL_FILE"):
        Settings()


def test_the_command_says_so_in_one_line(tmp_path: Path) -> None:
    environment = os.environ | {"GLYPHSERVE_DATABASE_URL_FILE": str(tmp_path / "missing")}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "service", "jobs", "list"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "GLYPHSERVE_DATABASE_URL_FILE" in done.stderr
    assert len(done.stderr.splitlines()) == 2
