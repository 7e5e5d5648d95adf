"""What the image is made of: pinned by hash, told as an SBOM, the same files each time it is built."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.composing import ROOT

PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M)


def pins(name: str) -> dict[str, str]:
    """Read which versions a file pins, each with at least one hash."""
    return {package: version for package, version, _ in PIN.findall((ROOT / name).read_text())}


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-build.txt"])
def test_every_requirement_is_pinned_by_hash(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and line[0] not in " #"]
    assert len(lines) == len(pins(name)) > 5


def test_what_builds_is_what_the_project_asks_for() -> None:
    from packaging.requirements import Requirement

    asked = [
        Requirement(text) for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    ]
    assert asked
    assert all(
        requirement.specifier.contains(pins("requirements-build.txt")[requirement.name]) for requirement in asked
    )


def test_what_runs_is_what_the_project_asks_for() -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = pins("requirements.txt")
    for requirement in map(Requirement, project["dependencies"]):
        assert requirement.specifier.contains(pinned[requirement.name]), requirement


@pytest.mark.slow
def test_the_sbom_of_the_documentation_names_every_package_with_its_hashes(tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx_py", reason="needs cyclonedx-bom (the extra dev)")
    words = ["cyclonedx-py", "requirements", "requirements.txt", "-o"]
    assert " ".join(words) in (ROOT / "docs" / "how-to" / "containers.md").read_text()
    file = tmp_path / "sbom.json"
    command = [sys.executable, "-m", "cyclonedx_py", *words[1:], str(file), "--validate"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sbom = json.loads(file.read_text())
    assert sbom["bomFormat"] == "CycloneDX"
    assert {part["name"]: part["version"] for part in sbom["components"]} == pins("requirements.txt")
    for part in sbom["components"]:
        assert part["purl"] == f"pkg:pypi/{part['name']}@{part['version']}"
        assert any(said["hashes"] for said in part["externalReferences"]), part["name"]
