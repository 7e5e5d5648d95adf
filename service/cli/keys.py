"""`glyphserve keys`: create, list and revoke API keys."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.context import HomeOption, console, load_settings

if TYPE_CHECKING:
    from service.api.keys import Keys

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)


@app.command(epilog="Example: glyphserve keys create --scope predict --name shop")
def create(
    scope: Annotated[list[str], typer.Option(help="predict, train or admin; may be repeated.")],
    name: Annotated[str, typer.Option(help="A name for the owner of the key.")] = "",
    home: HomeOption = None,
) -> None:
    """Create a key and print it once; only a hash is stored. Once a key exists, the service requires keys."""
    _, text = _keys(home).create(tuple(scope), name)
    typer.echo(text)


@app.command(name="list")
def list_keys(
    limit: Annotated[int, typer.Option("--most", min=1, help="Number of keys to print, the newest ones.")] = 100,
    home: HomeOption = None,
) -> None:
    """Print the newest keys: their IDs, scopes and names."""
    from rich.table import Table

    table = Table("id", "scopes", "name", "created", box=None)
    for key in _keys(home).list()[-limit:]:
        table.add_row(key.id, " ".join(key.scopes), key.name, key.created)
    console().print(table)


@app.command(epilog="Example: glyphserve keys revoke k7m2x9qa")
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID")], home: HomeOption = None) -> None:
    """Revoke a key; running servers reject it within a second."""
    _keys(home).revoke(key_id)


@app.command(epilog="Example: glyphserve keys reset --yes")
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Confirm the deletion.")] = False,
    home: HomeOption = None,
) -> None:
    """Delete all keys: servers started after that require none; running servers reject all requests."""
    if not yes:
        typer.echo("error: anyone who can reach the service can then do everything; confirm with --yes", err=True)
        raise typer.Exit(2)
    _keys(home).reset()


def _keys(home: Path | None) -> "Keys":
    from service.api.keys import Keys
    from service.registry.store import open_store

    return Keys(open_store(load_settings(home).store_location))
