"""`glyphserve models`: look at versions, promote, roll back."""

from pathlib import Path
from typing import Annotated

import typer

from service.registry.aliases import AliasEntry, Mode, parse_candidate

app = typer.Typer(help="Look at models and versions; promote and roll back.", no_args_is_help=True)

HomeOption = Annotated[Path | None, typer.Option(help="Folder of models and jobs.")]
AliasOption = Annotated[str | None, typer.Option(help="Which alias; by default the serving one.")]


@app.command("list", epilog="Example: glyphserve models list")
def list_models(
    most: Annotated[int, typer.Option(min=1, help="How many of the newest versions of each model to show.")] = 20,
    home: HomeOption = None,
) -> None:
    """List the newest versions of all models."""
    from rich.table import Table

    from service.cli.context import console, load_settings, open_registry

    registry = open_registry(load_settings(home))
    table = Table("model", "version", "aliases", "layers", "accuracy", "recipe", "created", box=None)
    for name in registry.models(limit=None):
        aliases = registry.aliases(name)
        for manifest in reversed(registry.newest(name, most)):
            details = manifest.details
            metrics = details.get("metrics") or {}
            accuracy = metrics.get("test_accuracy", metrics.get("validation_accuracy"))
            layers = (details.get("settings") or {}).get("layers")
            table.add_row(
                name,
                str(manifest.version),
                ", ".join(state.alias for state in aliases if state.version == manifest.version),
                "-".join(map(str, layers)) if isinstance(layers, list | tuple) else str(layers or ""),
                f"{accuracy:.2%}" if isinstance(accuracy, int | float) else "",
                str(details.get("recipe", "")),
                str(details.get("created", "")),
            )
    console().print(table)


@app.command(epilog="Example: glyphserve models show mnist 1")
def show(name: str, version: int, home: HomeOption = None) -> None:
    """Show all that is known of a version, as JSON."""
    import json

    from service.cli.context import load_settings, open_registry

    typer.echo(json.dumps(open_registry(load_settings(home)).manifest(name, version).details, indent=2))


@app.command(epilog="Example: glyphserve models promote mnist 2")
def promote(name: str, version: int, alias: AliasOption = None, home: HomeOption = None) -> None:
    """Let a version take over; running servers follow within a second. A trial ends."""
    from service.cli.context import load_settings, open_registry

    settings = load_settings(home)
    state = open_registry(settings).promote(name, alias or settings.alias, version, reason="by command")
    _tell(name, state)


@app.command("try", epilog="Example: glyphserve models try mnist 3 --share 0.1 --mode canary")
def try_candidate(
    name: str,
    candidate: int,
    mode: Annotated[Mode, typer.Option(help="A canary answers its share; a shadow reads along.")] = "shadow",
    share: Annotated[float | None, typer.Option(help="Of the requests, from 0 to 1; a shadow's default is 1.")] = None,
    alias: AliasOption = None,
    home: HomeOption = None,
) -> None:
    """Put a version on trial beside the serving one; `promote` and `rollback` end it."""
    from service.cli.context import load_settings, open_registry

    settings = load_settings(home)
    registry = open_registry(settings)
    serving = registry.alias(name, alias or settings.alias)
    trial = parse_candidate(candidate, share, mode)
    state = registry.promote(
        name,
        serving.alias,
        serving.version,
        candidate=trial,
        expected_generation=serving.generation,
        reason="on trial by command",
    )
    _tell(name, state)


@app.command(epilog="Example: glyphserve models rollback mnist")
def rollback(name: str, alias: AliasOption = None, home: HomeOption = None) -> None:
    """Go back to the version before the present one. A trial ends."""
    from service.cli.context import load_settings, open_registry

    settings = load_settings(home)
    state = open_registry(settings).roll_back(name, alias or settings.alias, reason="rolled back by command")
    _tell(name, state)


@app.command("collect", epilog="Example: glyphserve models collect --dry-run")
def prune(
    keep: Annotated[int | None, typer.Option(min=1, help="Newest versions to keep; by default the setting.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be deleted.")] = False,
    home: HomeOption = None,
) -> None:
    """Delete old versions that no alias means or lately meant. Workers do this after each job."""
    from service.cli.context import load_settings, open_registry
    from service.registry import retention

    settings = load_settings(home)
    registry = open_registry(settings)
    choose = retention.expired_versions if dry_run else retention.prune
    for name in registry.models(limit=None):
        versions = choose(registry, name, keep or settings.keep_versions)
        listed = ", ".join(map(str, versions)) or "nothing"
        typer.echo(f"{name}: {'would delete' if dry_run else 'deleted'} {listed}")


def _tell(name: str, state: AliasEntry) -> None:
    line = f"{name} {state.alias} is version {state.version} (generation {state.generation})"
    if trial := state.candidate:
        line += f"; version {trial.version} is its {trial.mode} on {trial.share:.0%} of the requests"
    typer.echo(line)
