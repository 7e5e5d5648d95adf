"""What the commands share: settings, the home folder, the registry, and tables on the terminal."""

import difflib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from service.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from service.registry.registry import Registry

_OTHERS = (  # of the training library, of the tests, and of the compose files
    *("DATA_DIR", "CACHE_DIR", "MNIST_MIRROR", "MOTO_SERVER", "CLIENTS_DIR", "SCHEMA_EXAMPLES"),
    *("CPUS", "IMAGE", "PUBLISH", "SECRETS", "SUBNET"),
)


def ensure_home(settings: Settings) -> None:
    """Make the home folder if need be, and end the command when it cannot be written to."""
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.home):
            pass
    except OSError as error:
        sys.stderr.write(
            f"error: the home folder {settings.home} cannot be written to: {error.strerror}; "
            "choose another by --home or GLYPHSERVE_HOME\n"
        )
        raise typer.Exit(1) from None


def warn_of_unknown_variables() -> None:
    """Name the variables that are no settings, each with the setting that it may have meant."""
    settings = [name.upper() for name in Settings.model_fields]
    known = {*settings, *_OTHERS, *(f"{name}_FILE" for name in settings)}
    for variable in sorted(os.environ):
        name = variable.removeprefix("GLYPHSERVE_")
        if name == variable or name in known:
            continue
        near = difflib.get_close_matches(name, known, 1)
        meant = f"; did you mean GLYPHSERVE_{near[0]}?" if near else ""
        sys.stderr.write(f"warning: {variable} is no setting and is ignored{meant}\n")


def load_settings(home: Path | None) -> Settings:
    """Return the settings; an option on the command line overrides the environment."""
    settings = Settings(home=home) if home else Settings()
    ensure_home(settings)
    return settings


def open_registry(settings: Settings) -> "Registry":
    """Open the registry with the bundled models installed."""
    from service.registry.bundled import install_bundled_models
    from service.registry.registry import Registry
    from service.registry.store import open_store
    from service.registry.store_format import check_format

    store = open_store(settings.store_location)
    check_format(store)
    registry = Registry(store)
    install_bundled_models(registry, settings.alias)
    return registry


def console() -> "Console":
    """Return a console as wide as the terminal, or 160 columns where there is none."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160)
