"""Virtual environments for foreign clients: they pin packages that clash with ours and with one another's.

Each is made once from a list of pinned requirements and kept in the cache folder under a name that changes with it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def python_of(name: str) -> Path:
    """Find or make the environment of `<name>.txt`; the test is skipped when its packages cannot be had."""
    requirements = HERE / f"{name}.txt"
    mark = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    cache = (
        os.environ.get("GLYPHSERVE_CLIENTS_DIR") or Path(tempfile.gettempdir()) / f"glyphserve-clients-{os.getuid()}"
    )
    folder = Path(cache) / f"{name}-{mark}"
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _make(folder, python, requirements)
        complete.touch()
    return python


def _make(folder: Path, python: Path, requirements: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    uv = shutil.which("uv")  # much faster, where it is there
    install = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
    command = [*install, "--quiet", "-r", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"the packages of {requirements.name} cannot be had: {done.stderr.strip()[-300:]}")
