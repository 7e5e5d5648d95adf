"""The metadata of the package: licence, versions, dependency groups."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
GROUPS = PYPROJECT["dependency-groups"]


def packages(group: str) -> set[str]:
    """Expand a dependency group."""
    found: set[str] = set()
    for entry in GROUPS[group]:
        found |= packages(entry["include-group"]) if isinstance(entry, dict) else {entry}
    return found


def test_the_extras_for_development_list_what_the_dependency_groups_list() -> None:
    extras = PROJECT["optional-dependencies"]
    assert set(extras["test"]) == packages("test")
    own = {entry for entry in extras["dev"] if not entry.startswith("glyphserve[")}
    assert own | set(extras["test"]) == packages("dev")


def test_the_licence_is_part_of_the_package() -> None:
    assert PROJECT["license"] == "MIT"
    assert PROJECT["license-files"] == ["LICENSE"]
    text = (ROOT / "LICENSE").read_text()
    assert text.startswith("MIT License\n\nCopyright (c) ")
    assert PROJECT["authors"][0]["name"] in text


def test_the_licence_reaches_the_image() -> None:
    assert "!LICENSE" in (ROOT / ".dockerignore").read_text().splitlines()
    assert re.search(r"^COPY pyproject.toml .*\bLICENSE\b", (ROOT / "Dockerfile").read_text(), re.M)


def test_the_citation_names_the_version_and_the_licence() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {PROJECT['version']}\n" in citation
    assert f"\nlicense: {PROJECT['license']}\n" in citation


def test_the_versions_of_python_are_those_that_are_tested() -> None:
    tested = re.search(r"^PYTHONS = \[(.*)\]$", (ROOT / "noxfile.py").read_text(), re.M)
    assert tested
    versions = re.findall(r"3\.\d+", tested[1])
    classifiers = [f"Programming Language :: Python :: {version}" for version in versions]
    assert set(classifiers) == {text for text in PROJECT["classifiers"] if ":: 3." in text}
    assert PROJECT["requires-python"] == f">={versions[0]}"


def test_the_tests_that_run_on_every_python_exist() -> None:
    files = re.findall(r'^    "(tests/.*\.py)",$', (ROOT / "noxfile.py").read_text(), re.M)
    assert files
    assert all((ROOT / file).is_file() for file in files)


def test_the_changelog_has_the_sections_of_keep_a_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "\n## [Unreleased]\n" in text
    sections = re.findall(r"^### (.*)$", text, re.M)
    assert set(sections) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
