"""Settings come from variables, or from files that variables name."""

import os
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import make_url

from service.errors import UnprocessableContent
from service.settings import Settings
from tests.service.conftest import COMMAND

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
    with pytest.raises(UnprocessableContent, match="GLYPHSERVE_DATABASE_URL_FILE"):
        Settings()


def test_the_command_says_so_in_one_line(tmp_path: Path) -> None:
    environment = os.environ | {"GLYPHSERVE_DATABASE_URL_FILE": str(tmp_path / "missing")}
    done = subprocess.run(
        [*COMMAND, "jobs", "list"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "GLYPHSERVE_DATABASE_URL_FILE" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def refusal(home: Path, variable: str, value: str) -> str:
    """Start the service with a setting, and give the line by which it is refused."""
    done = subprocess.run(
        [*COMMAND, "serve", "--port", "0", "--home", str(home)],
        env=os.environ | {variable: value},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
    assert line.startswith("error: ")
    assert variable in line
    return line


NO_DATABASES = [
    "sqlite:///",
    "sqlite:///:memory:",
    "sqlite:////",
    "sqlite:////tmp",
    "sqlite://host/file",
    "postgresql://[bad:secretpw",
    "postgresql://user:secretpw@[bad/name",
    "postgresql://user:secretpw@host:port/name",
    "postgresql://user:secretpw@host:5432,other:5432/name",
    "postgresql+nodriver://user:secretpw@host/name",
    "postgresql+asyncpg://user:secretpw@host/name",
    "postgresql://user:secretpw@host",
    "postgresql://user:secretpw@host/",
    "postgresql://user:secretpw@host/na me",
    "mysql://user:secretpw@host/name",
    " postgresql://user:secretpw@host/name",
]


@pytest.mark.parametrize("url", NO_DATABASES)
def test_what_is_no_database_is_refused_without_a_word_of_it(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(database_url=url)
    assert "sqlite:///file" in str(refused.value)
    assert "postgresql+psycopg://user:password@host/name" in str(refused.value)
    assert "secretpw" not in str(refused.value)


@pytest.mark.parametrize("url", ["sqlite:///", "postgresql://[bad:secretpw"])
def test_the_service_does_not_start_with_what_is_no_database(url: str, tmp_path: Path) -> None:
    assert "secretpw" not in refusal(tmp_path, "GLYPHSERVE_DATABASE_URL", url)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///jobs.sqlite",
        "sqlite:////var/lib/jobs.sqlite",
        "postgresql://host/name",
        "postgres://user@host/name",
        "postgresql+psycopg://us@er:p#a/s:s?w[o]rd@host:5432/name?sslmode=require&host=/run",
        "postgresql+psycopg://user@/name?host=/run/postgresql",
        "postgresql+psycopg://user:p@[fd00::1]:5432/name",
    ],
)
def test_a_database_is_taken_in_every_form_that_sqlalchemy_reads(url: str) -> None:
    assert Settings(database_url=url).database_location == url
    assert make_url(url).database


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_an_empty_variable_counts_as_not_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = getattr(Settings(), name)
    monkeypatch.setenv(f"GLYPHSERVE_{name.upper()}", "")
    assert getattr(Settings(), name) == expected


def test_an_empty_variable_leaves_the_choice_to_a_file_and_an_empty_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "database_url"
    file.write_text(SECRET)
    monkeypatch.setenv("GLYPHSERVE_DATABASE_URL", "")
    monkeypatch.setenv("GLYPHSERVE_DATABASE_URL_FILE", str(file))
    assert Settings().database_location == SECRET
    file.write_text("\n")
    with pytest.raises(UnprocessableContent, match="GLYPHSERVE_DATABASE_URL_FILE names is empty"):
        Settings()


@pytest.mark.parametrize("setting", ["model", "alias"])
@pytest.mark.parametrize("name", ["../x", "", "Mnist", "a b", "-a", "a" * 64, "mnist\n", "ä"])
def test_what_is_no_name_is_refused(setting: str, name: str) -> None:
    with pytest.raises(ValidationError, match="names are lower-case letters"):
        Settings(**{setting: name})


@pytest.mark.parametrize("url", ["http://x", "https://user:secretpw@x/y", "s3://", "s3:///x", "file:///tmp", "x://y"])
def test_what_is_no_store_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="a folder or s3://bucket/prefix") as refused:
        Settings(store_url=url)
    assert "secretpw" not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("MODEL", "../x"), ("STORE_URL", "http://x"), ("STORE_URL", "/proc/1"), ("STORE_URL", "/dev/null")],
)
def test_the_service_does_not_start_where_it_could_never_get_ready(variable: str, value: str, tmp_path: Path) -> None:
    line = refusal(tmp_path, f"GLYPHSERVE_{variable}", value)
    assert "must be a folder or s3://" in line or "must be a folder that can be" in line or "names are" in line
