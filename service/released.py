"""The models that come with the package."""

from importlib import resources
from pathlib import Path


def released_models() -> Path:
    """Find their folder: inside the package when installed, beside it in a source tree."""
    package = Path(str(resources.files("service")))
    inside = package / "released"
    return inside if inside.is_dir() else package.parent / "models"
