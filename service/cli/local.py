"""What the commands that work without a server stand on: the store of this host."""

import sys
from pathlib import Path

from rich.console import Console

from service.cli.checks import ensure_home
from service.registry.bundled import adopt_released
from service.registry.registry import Registry
from service.registry.store import open_store
from service.registry.store_format import check_format
from service.settings import Settings


def open_registry(settings: Settings) -> Registry:
    """Open the store, with the released models in it."""
    store = open_store(settings.store_location)
    check_format(store)
    registry = Registry(store)
    adopt_released(registry, settings.alias)
    return registry


def console() -> Console:
    """Draw tables as wide as the terminal, or wide enough where there is none."""
    return Console(width=None if sys.stdout.isatty() else 160)


def settings_for(home: Path | None) -> Settings:
    """Read the settings; an option on the command line wins."""
    settings = Settings(home=home) if home else Settings()
    ensure_home(settings)
    return settings
