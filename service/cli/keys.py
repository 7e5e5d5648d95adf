"""`glyphserve keys`: who may use the service."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from service.keys import Keys

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)

HomeOption = Annotated[Path | None, typer.Option(help="Folder for models and jobs.")]


@app.command(epilog="Example: glyphserve keys create --scope predict --name shop")
def create(
    scope: Annotated[list[str], typer.Option(help="predict, train or admin; may be given several times.")],
    name: Annotated[str, typer.Option(help="Whose it is.")] = "",
    home: HomeOption = None,
) -> None:
    """Make a key and print it, this once: what is kept is a hash. From the first key on the service asks for keys."""
    _, text = _keys(home).create(tuple(scope), name)
    typer.echo(text)


@app.command(name="list")
def list_keys(
    most: Annotated[int, typer.Option(min=1, help="How many of the newest to show.")] = 100, home: HomeOption = None
) -> None:
    """List the newest keys by their ids, with their scopes."""
    from rich.table import Table

    from service.cli.context import console

    table = Table("id", "scopes", "name", "created", box=None)
    for key in _keys(home).list()[-most:]:
        table.add_row(key.id, " ".join(key.scopes), key.name, key.created)
    console().print(table)


@app.command(epilog="Example: glyphserve keys revoke k7m2x9qa")
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID")], home: HomeOption = None) -> None:
    """Revoke a key; running servers know within a second."""
    _keys(home).revoke(key_id)


@app.command(epilog="Example: glyphserve keys reset --yes")
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Really do it.")] = False,
    home: HomeOption = None,
) -> None:
    """Delete all keys: servers that are started from now on ask for none, those that run let nobody in."""
    if not yes:
        typer.echo("error: whoever reaches the service may then do everything; if that is meant, say --yes", err=True)
        raise typer.Exit(2)
    _keys(home).reset()


def _keys(home: Path | None) -> "Keys":
    from service.cli.context import load_settings
    from service.keys import Keys
    from service.registry.store import open_store

    return Keys(open_store(load_settings(home).store_location))
