"""The benchmarks fit the code: each can be imported. What they measure takes minutes and is no test."""

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
MODULES = sorted(file.stem for file in FOLDER.glob("*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_a_benchmark_can_be_imported(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)  # as for those that are run as scripts
    try:
        importlib.import_module(f"benchmarks.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("benchmarks", "service", "tests", "training"):
            raise
        pytest.skip(f"needs {error.name}, which is not installed")
