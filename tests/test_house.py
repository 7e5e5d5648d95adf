"""The house itself: what must hold across all rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from service import errors
from service.api.problem_details import render_problem
from tests.documentation.generated import settings

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "training").rglob("*.py"), *(ROOT / "service").rglob("*.py")])


def test_every_error_has_a_status_a_code_and_the_one_shape() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ServiceError)]
    assert len({kind.code for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert 400 <= kind.status < 600
        assert f'"code":"{kind.code}"'.encode() in render_problem(kind("why"), "id")


def test_every_error_is_in_the_table_of_the_documentation() -> None:
    table = (ROOT / "docs" / "reference" / "errors.md").read_text()
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.ServiceError):
            assert kind.code in table, kind


def test_the_documentation_explains_every_setting_as_the_code_does() -> None:
    table = (ROOT / "docs" / "reference" / "settings.md").read_text()
    assert settings() in table, "run python -m tests.documentation.generated"


def test_no_room_has_grown_too_large() -> None:
    for path in SOURCES:
        assert len(path.read_text().splitlines()) <= 255, path


def test_importing_the_packages_starts_nothing_and_the_core_needs_numpy_alone() -> None:
    core = "import sys, threading; import training; assert threading.active_count() == 1; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", core], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    names = {name.partition(".")[0] for name in loaded.split()}
    foreign = {"PIL", "rich", "typer", "matplotlib", "fastapi", "pydantic", "service", "onnx"}
    assert not names & foreign
    app = "import threading; import service.api.app; assert threading.active_count() == 1"
    subprocess.run([sys.executable, "-c", app], check=True, cwd=ROOT)


def test_the_first_prediction_waits_for_nothing_that_it_does_not_need() -> None:
    code = "import sys; import service.server.uvicorn_server; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    imported = {name.partition(".")[0] for name in shown.split()}
    assert "numpy.random" not in shown.split()  # 3 MB that no prediction needs
    assert not imported & {"dbos", "typer", "fastapi", "starlette", "prometheus_client", "rich"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_room_says_what_it_is_about(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
