"""The released models: where they are, and how they are named."""

import re
from pathlib import Path

RELEASE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}(/[0-9]+)?")
"""A model's name, `accurate`, for its newest release, or one release of it, `accurate/5`."""


def models_dir() -> Path:
    """Find their folder: inside the package when installed, beside it in a source tree."""
    root = Path(__file__).resolve().parents[2]
    inside = root / "service" / "released"
    return inside if inside.is_dir() else root / "models"


def find_release(said: str) -> Path | None:
    """Find the folder of a release by what it is called; None for what is none, such as a path."""
    if not RELEASE.fullmatch(said):
        return None
    name, _, number = said.partition("/")
    folders = [path for path in (models_dir() / name).glob(number or "*") if path.name.isdigit()]
    return max(folders, key=lambda path: int(path.name), default=None)
