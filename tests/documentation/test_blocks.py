"""Every code block of README and docs is run, or says why it is not."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml  # type: ignore[import-untyped]
from PIL import Image, ImageDraw

from tests.documentation.blocks import BLOCKS, DOCS, PAGES, ROOT, Block
from tests.service.conftest import Server
from training.data import load_dataset

SHELL = ("sh", "bash")
CHECKED = ("json", "yaml", "toml", "ini", "promql", "text", "nginx", "mermaid")
"""Languages of blocks that are data: JSON and YAML are parsed, the others only shown."""
NEEDS_SERVER = "localhost:8000"
CPU_SECONDS = 5.0
"""For the Python blocks of one page of the tour: each takes less than one where the machine is free."""
WRITE_PICTURES = "GLYPHSERVE_TOUR_PICTURES" in os.environ
"""Whether to replace the pictures of the tour by those that its code draws now."""
TOUR = sorted((DOCS / "tour").glob("[0-9]*.md"))


def digits(folder: Path) -> None:
    """Write the pictures that examples name: digit.png, 1.png, 2.png and seven.png."""
    examples = load_dataset("starter").train
    for name, label in (("digit", 3), ("1", 1), ("2", 2), ("seven", 7)):
        image = examples.images[examples.labels == label][0]
        Image.fromarray(image).save(folder / f"{name}.png")


def shapes(folder: Path) -> None:
    """Write an image folder with two classes: circles and squares of many sizes."""
    rng = np.random.default_rng(0)
    for name in ("circle", "square"):
        (folder / name).mkdir(parents=True)
        for number in range(40):
            image = Image.new("L", (64, 64), 255)
            left, top, size = rng.integers((4, 4, 28), (16, 16, 44)).tolist()
            box = (left, top, left + size, top + size)
            draw = ImageDraw.Draw(image)
            (draw.ellipse if name == "circle" else draw.rectangle)(box, outline=0, width=int(rng.integers(2, 5)))
            image.save(folder / name / f"{number:02d}.png")


class Page:
    """The examples of one page: one folder, one home, one environment that `export` changes."""

    def __init__(self, folder: Path) -> None:
        """Lay out the folder in which the examples run."""
        self.folder = folder
        self.server: Server | None = None
        self.names: dict[str, object] = {"__name__": "__main__"}
        commands = folder / ".commands"
        commands.mkdir()
        (commands / "glyphserve").write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m service "$@"\n')
        (commands / "glyphserve").chmod(0o755)
        (commands / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (commands / "python").chmod(0o755)
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("GLYPHSERVE_") and "proxy" not in name.lower()
        }
        self.environment |= {
            "GLYPHSERVE_HOME": str(folder / "home"),
            "PATH": f"{commands}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),  # for `python -P`, in a folder without the packages
            "TERM": "dumb",
        }
        digits(folder)
        shapes(folder / "shapes")
        (folder / "models").symlink_to(ROOT / "models")

    def close(self) -> None:
        """Stop the server."""
        if self.server:
            self.server.stop()
            self.server = None

    def start(self, settings: str = "") -> None:
        """Start a server, with these variables, in place of the one that runs."""
        self.close()
        changes = dict(setting.split("=", 1) for setting in settings.split())
        self.environment |= changes
        kept = dict(os.environ)
        os.environ.clear()
        os.environ.update(self.environment)
        try:
            self.server = Server(self.folder / "home", folder=self.folder)
        finally:
            os.environ.clear()
            os.environ.update(kept)

    def addressed(self, code: str) -> str:
        """Give the code with the address of the running server."""
        if NEEDS_SERVER not in code:
            return code
        if self.server is None:
            self.start()
        assert self.server is not None
        return code.replace(NEEDS_SERVER, self.server.url.removeprefix("http://"))

    def run(self, block: Block) -> None:
        """Run one block."""
        if "server" in block.directives:
            self.start(block.directives["server"])
        for command in block.setup:
            self.shell(block, self.addressed(command))
        if "not run" in block.directives or "output" in block.directives:
            return
        if "file" in block.directives:
            (self.folder / block.directives["file"]).write_text(block.code)
        elif block.language == "python":
            self.printed = self.python(block)
        elif block.language in SHELL:
            self.printed = self.shell(block, self.addressed(block.code))

    def shell(self, block: Block, code: str) -> str:
        """Run a shell block; failed commands and responses of 4xx and 5xx fail it."""
        state = self.folder / ".exported"
        script = (
            "set -euo pipefail\n"
            'curl() { command curl --silent --show-error --fail-with-body --max-time 60 "$@"; }\n'
            f'[ ! -e "{state}" ] || . "{state}"\n'
            f'{code}\nexport -p > "{state}"\n'
        )
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{block.where}\n{code}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def python(self, block: Block) -> str:
        """Run a Python block in the names of the page's earlier ones."""
        printed = io.StringIO()
        code = compile("\n" * block.line + self.addressed(block.code), str(block.page), "exec")
        with contextlib.redirect_stdout(printed):
            exec(code, self.names)  # noqa: S102 -- the documentation's own examples
        return printed.getvalue()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    page = Page(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GLYPHSERVE_")]:
        monkeypatch.delenv(name)
    try:
        yield page
    finally:
        page.close()


def run_python_of(page: Path, run: Page) -> None:
    if any("matplotlib" in block.code for block in BLOCKS[page]):
        pytest.importorskip("matplotlib", reason="needs the extra `plots`").use("agg")
    for block in BLOCKS[page]:
        run.run(block)
        if "output" in block.directives:
            assert run.printed == block.code, block.where


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_has_a_language_and_data_can_be_parsed(page: Path) -> None:
    for block in BLOCKS[page]:
        assert block.language in ("python", *SHELL, *CHECKED), block.where
        assert block.directives.get("not run", "a reason"), f"{block.where}: give the reason"
        if block.language == "json":
            json.loads(block.code)
        elif block.language == "yaml":
            list(yaml.safe_load_all(block.code))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_of_systemd_is_valid(tmp_path: Path) -> None:
    (unit,) = (block.code for block in BLOCKS[DOCS / "how-to" / "systemd.md"] if block.language == "ini")
    program = "/opt/glyphserve/bin/glyphserve"
    assert program in unit
    file = tmp_path / "glyphserve.service"
    file.write_text(unit.replace(program, sys.executable))  # it must exist
    done = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "glyphserve.service" in line]
    assert complaints == [], done.stderr


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow if page == TOUR[-1] else (), id=page.stem) for page in TOUR],
)
def test_a_stop_of_the_tour_runs_in_a_moment_and_draws_its_picture(
    page: Path, run: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(run.folder)
    for module in ("neuron", "network"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    for earlier in TOUR[: TOUR.index(page)]:
        for block in BLOCKS[earlier]:
            if "file" in block.directives:
                (run.folder / block.directives["file"]).write_text(block.code)
    started = time.process_time()
    run_python_of(page, run)
    assert time.process_time() - started < CPU_SECONDS
    pictures = re.findall(r"!\[[^\]]+\]\(pictures/([^)]+)\)", page.read_text())
    assert pictures
    for picture in pictures:
        if WRITE_PICTURES:
            shutil.copy(run.folder / picture, DOCS / "tour" / "pictures" / picture)
        with Image.open(run.folder / picture) as drawn, Image.open(DOCS / "tour" / "pictures" / picture) as shown:
            assert drawn.size == shown.size, picture


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page not in TOUR and BLOCKS[page]], ids=lambda page: str(page.relative_to(ROOT))
)
def test_the_examples_of_a_page_run(page: Path, run: Page) -> None:
    run_python_of(page, run)
