"""Released models: their folder and names."""

import re
from pathlib import Path

RELEASE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}(/[0-9]+)?")
"""A model name such as `accurate`, for its newest release, or one release, `accurate/5`."""


def models_dir() -> Path:
    """Return the folder of the released models, in the installed package or next to it in a source tree."""
    root = Path(__file__).resolve().parents[2]
    inside = root / "service" / "released"
    return inside if inside.is_dir() else root / "models"


def find_release(name: str) -> Path | None:
    """Return the folder of a release by name; None for anything else, such as a path."""
    if not RELEASE.fullmatch(name):
        return None
    model, _, number = name.partition("/")
    folders = [path for path in (models_dir() / model).glob(number or "*") if path.name.isdigit()]
    return max(folders, key=lambda path: int(path.name), default=None)
