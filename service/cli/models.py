"""`glyphserve models`: list versions, promote, roll out candidates, roll back, delete old versions."""

import json
from typing import Annotated

import typer

from service.cli.context import HomeOption, console, load_settings, open_registry
from service.registry.aliases import AliasEntry, Mode, parse_candidate

app = typer.Typer(help="List models and versions; promote and roll back.", no_args_is_help=True)

AliasOption = Annotated[str | None, typer.Option(help="The alias; by default the serving one.")]


@app.command("list", epilog="Example: glyphserve models list")
def list_models(
    limit: Annotated[int, typer.Option("--most", min=1, help="Number of versions per model, newest first.")] = 20,
    home: HomeOption = None,
) -> None:
    """Print the newest versions of all models."""
    from rich.table import Table

    registry = open_registry(load_settings(home))
    table = Table("model", "version", "aliases", "layers", "accuracy", "recipe", "created", box=None)
    for name in registry.models(limit=None):
        aliases = registry.aliases(name)
        for manifest in reversed(registry.newest(name, limit)):
            details = manifest.details
            metrics = details.get("metrics") or {}
            accuracy = metrics.get("test_accuracy", metrics.get("validation_accuracy"))
            layers = (details.get("settings") or {}).get("layers")
            table.add_row(
                name,
                str(manifest.version),
                ", ".join(entry.alias for entry in aliases if entry.version == manifest.version),
                "-".join(map(str, layers)) if isinstance(layers, list | tuple) else str(layers or ""),
                f"{accuracy:.2%}" if isinstance(accuracy, int | float) else "",
                str(details.get("recipe", "")),
                str(details.get("created", "")),
            )
    console().print(table)


@app.command(epilog="Example: glyphserve models show mnist 1")
def show(name: str, version: int, home: HomeOption = None) -> None:
    """Print the manifest of a version as JSON."""
    typer.echo(json.dumps(open_registry(load_settings(home)).manifest(name, version).details, indent=2))


@app.command(epilog="Example: glyphserve models promote mnist 2")
def promote(name: str, version: int, alias: AliasOption = None, home: HomeOption = None) -> None:
    """Promote a version; running servers load it within a second. Ends the rollout of a candidate."""
    settings = load_settings(home)
    entry = open_registry(settings).promote(name, alias or settings.alias, version, reason="by command")
    _print_alias(name, entry)


@app.command("try", epilog="Example: glyphserve models try mnist 3 --share 0.1 --mode canary")
def set_candidate(
    name: str,
    candidate: int,
    mode: Annotated[
        Mode, typer.Option(help="A canary answers its share of the requests; a shadow only gets a copy of them.")
    ] = "shadow",
    share: Annotated[
        float | None, typer.Option(help="Fraction of the requests, from 0 to 1; a shadow's default is 1.")
    ] = None,
    alias: AliasOption = None,
    home: HomeOption = None,
) -> None:
    """Roll out a version as a candidate next to the serving one; `promote` and `rollback` end the rollout."""
    settings = load_settings(home)
    registry = open_registry(settings)
    serving = registry.alias(name, alias or settings.alias)
    entry = registry.promote(
        name,
        serving.alias,
        serving.version,
        candidate=parse_candidate(candidate, share, mode),
        expected_generation=serving.generation,
        reason="candidate by command",
    )
    _print_alias(name, entry)


@app.command(epilog="Example: glyphserve models rollback mnist")
def rollback(name: str, alias: AliasOption = None, home: HomeOption = None) -> None:
    """Return to the previous version. Ends the rollout of a candidate."""
    settings = load_settings(home)
    entry = open_registry(settings).roll_back(name, alias or settings.alias, reason="rolled back by command")
    _print_alias(name, entry)


@app.command("collect", epilog="Example: glyphserve models collect --dry-run")
def prune(
    keep: Annotated[
        int | None, typer.Option(min=1, help="Number of newest versions to keep; by default the setting.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be deleted.")] = False,
    home: HomeOption = None,
) -> None:
    """Delete old versions that no alias points to or recently pointed to. Workers do this after each job."""
    from service.registry import retention

    settings = load_settings(home)
    registry = open_registry(settings)
    select = retention.expired_versions if dry_run else retention.prune
    for name in registry.models(limit=None):
        versions = select(registry, name, keep or settings.keep_versions)
        listed = ", ".join(map(str, versions)) or "nothing"
        typer.echo(f"{name}: {'would delete' if dry_run else 'deleted'} {listed}")


def _print_alias(name: str, entry: AliasEntry) -> None:
    line = f"{name} {entry.alias} is version {entry.version} (generation {entry.generation})"
    if candidate := entry.candidate:
        line += f"; version {candidate.version} is its {candidate.mode} on {candidate.share:.0%} of the requests"
    typer.echo(line)
