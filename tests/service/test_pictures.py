"""R12, in small: benchmarks/pictures.py on a few digits of the starter set. The whole of it wants MNIST."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def table(*arguments: str) -> dict[str, tuple[float, float]]:
    """The rows that the script prints, as way → (same, right)."""
    script = [sys.executable, "-P", str(ROOT / "benchmarks" / "pictures.py"), *arguments]
    shown = subprocess.run(script, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    rows = re.findall(r"^(.+?)\s+([\d.]+)%(?:\s+[\d.]+%)?\s+([\d.]+)%\s+\d+$", shown.stdout, re.MULTILINE)
    return {way: (float(same), float(right)) for way, same, right in rows}


@pytest.fixture(scope="module")
def rows() -> dict[str, tuple[float, float]]:
    return table("--source", "starter", "--digits", "20")


def test_no_way_of_storing_that_loses_nothing_changes_an_answer(rows: dict[str, tuple[float, float]]) -> None:
    lossless = [way for way in rows if re.match("PNG|BMP|GIF|WEBP lossless|inverted|padded|larger|moved|cut", way)]
    assert len(lossless) >= 51
    assert {rows[way][0] for way in lossless} == {100.0}


def test_photographs_and_drawings_are_read(rows: dict[str, tuple[float, float]]) -> None:
    photographed = {way: right for way, (_, right) in rows.items() if way.startswith(("photo", "a ", "scanned"))}
    assert len(photographed) >= 20
    assert min(photographed.values()) >= 90, photographed
