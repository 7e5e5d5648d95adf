"""What the commands share: settings, the home folder, the registry, image files, and tables on the terminal."""

import difflib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from service.registry.registry import Registry
    from training.types import Pixels

HomeOption = Annotated[Path | None, typer.Option(help="Folder for models and jobs.")]

_OTHER_VARIABLES = (  # of the training library, of the tests, and of the compose files
    *("DATA_DIR", "CACHE_DIR", "MNIST_MIRROR", "MOTO_SERVER", "CLIENTS_DIR", "SCHEMA_EXAMPLES"),
    *("CPUS", "IMAGE", "PUBLISH", "SECRETS", "SUBNET"),
)


def load_settings(home: Path | None) -> Settings:
    """Return the settings; an option on the command line overrides the environment."""
    settings = Settings(home=home) if home else Settings()
    ensure_home(settings)
    return settings


def ensure_home(settings: Settings) -> None:
    """Create the home folder; exit if it is not writable."""
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.home):
            pass
    except OSError as error:
        sys.stderr.write(
            f"error: the home folder {settings.home} is not writable: {error.strerror}; "
            "choose another one with --home or GLYPHSERVE_HOME\n"
        )
        raise typer.Exit(1) from None


def warn_of_unknown_variables() -> None:
    """Warn of GLYPHSERVE_ variables that are not settings, and suggest the setting with the closest name."""
    settings = [name.upper() for name in Settings.model_fields]
    known = {*settings, *_OTHER_VARIABLES, *(f"{name}_FILE" for name in settings)}
    for variable in sorted(os.environ):
        name = variable.removeprefix("GLYPHSERVE_")
        if name == variable or name in known:
            continue
        matches = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean GLYPHSERVE_{matches[0]}?" if matches else ""
        sys.stderr.write(f"warning: {variable} is not a setting and is ignored{hint}\n")


def open_registry(settings: Settings) -> "Registry":
    """Return the registry with the bundled models installed."""
    from service.registry.bundled import install_bundled_models
    from service.registry.registry import Registry
    from service.registry.store import open_store
    from service.registry.store_format import check_format

    store = open_store(settings.store_location)
    check_format(store)
    registry = Registry(store)
    install_bundled_models(registry, settings.alias)
    return registry


def read_image(path: Path, settings: Settings) -> "Pixels | None":
    """Return an image file as a glyph, uint8 (28, 28); print an error and return None if it is unreadable."""
    from service.errors import ServiceError
    from service.inference.images import ImageLimits, decode_glyph

    limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels, settings.max_image_side)
    try:
        return decode_glyph(path.read_bytes(), limits)
    except (ServiceError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        sys.stderr.write(f"{path}: {reason}\n")
        return None


def console() -> "Console":
    """Return a console as wide as the terminal, or 160 columns if there is none."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160)
