"""The documentation builds as a site without a warning, and its pages are accessible."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.documentation.blocks import ROOT
from tests.service.browsing import accessible, browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["browser"]  # a fixture

SHOWN = [
    "index.html",
    "tour/01-one-neuron.html",
    "how-to/troubleshoot.html",
    "reference/settings.html",
    "explanation/ARCHITECTURE.html",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="needs the extra `docs`")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_site_builds_and_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert 'src="http' not in text, page
        assert '<link rel="stylesheet" href="http' not in text, page


@pytest.mark.browser
@pytest.mark.parametrize("name", SHOWN)
def test_the_pages_of_the_site_are_accessible(name: str, site: Path, browser: "Browser") -> None:
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.goto((site / name).as_uri())
    accessible(page)
    page.close()
