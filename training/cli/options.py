"""Options, exit codes and error output shared by the commands."""

import errno
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from training.errors import ConfigError, DataError, TrainingError, UnknownDataError

_DISK_FAILS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)

EXIT_FAILED, EXIT_BAD_SETTINGS, EXIT_INTERRUPTED = 1, 2, 130

RecipeOption = Annotated[str, typer.Option(help="Name of a recipe; `recipes` lists them.")]
DataOption = Annotated[
    str | None, typer.Option(help="starter, mnist, fashion, a folder of IDX files or pictures, an .npz, or a URL.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a setting; may be repeated.")
]
SeedOption = Annotated[int | None, typer.Option(help="Seed of all random numbers.")]


def console() -> Console:
    """Return a console as wide as the terminal, or wide enough for tables without one."""
    return Console(width=None if sys.stdout.isatty() else 160)


@contextmanager
def exit_on_error(*, as_json: bool = False) -> Iterator[None]:
    """Print errors that users can fix as one line, or one JSON object, and exit with a code."""
    try:
        yield
    except TrainingError as error:
        field = getattr(error, "field", None)
        kind = DataError if isinstance(error, DataError) else type(error)
        _print_error(kind.__name__.removesuffix("Error").lower(), field, str(error), as_json=as_json)
        is_refused = isinstance(error, ConfigError | UnknownDataError)  # invalid arguments; nothing was started
        raise typer.Exit(EXIT_BAD_SETTINGS if is_refused else EXIT_FAILED) from error
    except OSError as error:
        if error.errno not in _DISK_FAILS:
            raise
        _print_error("disk", None, error.strerror or type(error).__name__, as_json=as_json)
        raise typer.Exit(EXIT_FAILED) from error
    except ModuleNotFoundError as error:
        sys.stderr.write(f"error: this needs {error.name}: pip install 'glyphserve[plots,onnx]'\n")
        raise typer.Exit(EXIT_FAILED) from error
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _print_error(code: str, field: str | None, detail: str, *, as_json: bool) -> None:
    event = {"event": "failed", "code": code, "field": field, "detail": detail}
    (sys.stdout if as_json else sys.stderr).write(json.dumps(event) + "\n" if as_json else f"error: {detail}\n")
