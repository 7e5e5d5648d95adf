#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2025.11"]
# ///
"""Development tasks: `nox` runs the quick checks, `nox --list` shows every session, `nox -s NAME` runs one.

Each session has a virtual environment of its own, made on first use and reused after that. CI runs the static checks in
an environment that it has already: `nox --no-venv --no-install -s format lint types prose`.
"""

import os
from pathlib import Path

import nox

nox.needs_version = ">=2025.11"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False  # they are skipped with a message

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
PARALLEL = ("-n", "3", "--dist", "worksteal")

# The tests that run on every Python: training, weights and checkpoints; predictions; jobs with the worker.
COMPATIBILITY = (
    "tests/training/test_checkpoint.py",
    "tests/training/test_dataset.py",
    "tests/training/test_export.py",
    "tests/training/test_fit.py",
    "tests/training/test_recipes.py",
    "tests/service/test_jobs.py",
    "tests/service/test_predict.py",
    "tests/service/test_settings.py",
)


def install_group(session: nox.Session, group: str) -> None:
    """Install one dependency group, without the project."""
    session.install(*nox.project.dependency_groups(PROJECT, group))


def run_marked(session: nox.Session, marker: str, *options: str) -> None:
    """Run the tests with a marker in an environment with everything that development needs."""
    session.install("--editable", ".[dev]")
    session.run("python", "-m", "pytest", "-m", marker, *options, *session.posargs)


@nox.session(default=True)
def format(session: nox.Session) -> None:  # noqa: A001 - the name of the task on the command line
    """Format the code; only check it when CI is set."""
    install_group(session, "lint")
    session.run("ruff", "format", *(["--check"] if os.environ.get("CI") else []), ".")


@nox.session(default=True)
def lint(session: nox.Session) -> None:
    """Lint the code and check the import contracts."""
    install_group(session, "lint")
    session.run("ruff", "check", ".")
    session.run("lint-imports", "--no-logo")


@nox.session(default=True)
def types(session: nox.Session) -> None:
    """Type-check the packages and the tests."""
    session.install("--editable", ".[dev]")
    session.run("mypy")


@nox.session(default=False)
def prose(session: nox.Session) -> None:
    """Lint the English of documents, docstrings, comments and messages."""
    install_group(session, "lint")
    session.run("python", ".ci/prose.py", *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the documentation as a site, into site/."""
    session.install("--editable", ".[docs]")
    session.run("mkdocs", "build", "--strict", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session(default=True)
def tests(session: nox.Session) -> None:
    """Run the quick tests, or those given as arguments."""
    session.install("--editable", ".[test]")
    session.run("python", "-m", "pytest", *(session.posargs or PARALLEL))


@nox.session(default=False, python=PYTHONS)
def compatibility(session: nox.Session) -> None:
    """Install the package and run a part of the quick tests on one version of Python."""
    rebuild = ["--reinstall-package", "glyphserve"] if session.venv_backend == "uv" else []  # pip always does
    session.install(*rebuild, ".[test]")
    session.run("python", "-m", "pytest", *PARALLEL, *(session.posargs or COMPATIBILITY))


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Measure the branch coverage of the quick tests."""
    session.install("--editable", ".[test]")
    session.run("python", "-m", "pytest", *PARALLEL, "--cov", "--cov-report=term", *session.posargs)


@nox.session(default=False)
def slow(session: nox.Session) -> None:
    """Run the tests that take many seconds each."""
    run_marked(session, "slow", *PARALLEL)


@nox.session(default=False)
def browser(session: nox.Session) -> None:
    """Test the page in Chromium, which must be installed."""
    run_marked(session, "browser", "-s")


@nox.session(default=False)
def docker(session: nox.Session) -> None:
    """Build and test the containers; a Docker Engine must be running."""
    run_marked(session, "docker", "-s")


@nox.session(default=False)
def schema(session: nox.Session) -> None:
    """Test the API against its OpenAPI description with schemathesis."""
    run_marked(session, "schema", "-s")


@nox.session(default=False)
def clients(session: nox.Session) -> None:
    """Test the public clients of the inference protocols."""
    session.install("--editable", ".[dev]")
    environments = {"GLYPHSERVE_CLIENTS_DIR": str(Path(session.create_tmp()) / "clients")}
    session.run("python", "-m", "pytest", "-s", "-m", "clients", *session.posargs, env=environments)


@nox.session(default=False)
def databases(session: nox.Session) -> None:
    """Test on PostgreSQL and with injected faults; PostgreSQL and strace must be installed."""
    run_marked(session, "postgres or faults")


@nox.session(default=False)
def review(session: nox.Session) -> None:
    """Check the repository against the guidelines of Scientific Python."""
    session.install("sp-repo-review[cli]>=2025.5")
    session.run("repo-review", ".")


@nox.session(default=False, venv_backend="none")
def ci(session: nox.Session) -> None:
    """Run everything that CI runs, for about 40 minutes."""
    session.run("bash", ".ci/run", external=True)


if __name__ == "__main__":
    nox.main()
