"""`glyphserve samples`: list, add, export and delete samples."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.context import HomeOption, load_settings

if TYPE_CHECKING:
    from service.samples.store import Entry, SampleStore
    from service.settings import Settings

app = typer.Typer(help="List, add, export and delete samples: images with corrected labels.", no_args_is_help=True)

ModelOption = Annotated[str | None, typer.Option(help="The model; by default the one of the settings.")]


@app.command("list", epilog="Example: glyphserve samples list")
def list_samples(
    model: ModelOption = None,
    limit: Annotated[int, typer.Option("--most", min=0, help="Number of samples to print, newest first.")] = 20,
    home: HomeOption = None,
) -> None:
    """Print the number of samples by label, and the newest samples."""
    from rich.table import Table

    from service.cli.context import console
    from service.samples.store import count_by_label

    settings, samples = _open(home)
    entries = samples.list(model or settings.model)
    counts = ", ".join(f"{label}: {count}" for label, count in count_by_label(entries).items())
    typer.echo(f"{len(entries)} samples" + (f" ({counts})" if counts else ""))
    table = Table("id", "label", "since", box=None)
    for entry in entries[:limit]:
        table.add_row(entry.sample_id, entry.label, entry.since)
    console().print(table)


@app.command(epilog="Example: glyphserve samples add 7 seven.png other-seven.jpg")
def add(
    label: Annotated[str, typer.Argument(help="The correct label of the images.")],
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG, BMP, GIF or WEBP files.")],
    model: ModelOption = None,
    home: HomeOption = None,
) -> None:
    """Add images with their correct label. Exits with code 1 if an image is unreadable."""
    from service.cli.context import open_registry, read_image
    from service.errors import ServiceError, UnprocessableContent
    from service.samples.sample import Provenance

    settings, samples = _open(home)
    name = model or settings.model
    registry = open_registry(settings)
    labels = registry.manifest(name, registry.alias(name, settings.alias).version).labels
    if label not in labels:
        raise UnprocessableContent(f"{name} has no such label; it knows {', '.join(labels[:50])}")
    added = failed = 0
    for path in images:
        if (glyph := read_image(path, settings)) is None:
            failed += 1
            continue
        try:
            _, is_new = samples.add(name, glyph, label, Provenance("command"))
            added += is_new
        except ServiceError as error:
            typer.echo(f"{path}: {error}", err=True)
            failed += 1
    typer.echo(f"{added} new, {len(images) - added - failed} known already, {failed} failed")
    if failed:
        raise typer.Exit(1)


@app.command(epilog="Example: glyphserve samples export corrections; python -P -m training fit --data corrections")
def export(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    model: ModelOption = None,
    home: HomeOption = None,
) -> None:
    """Write all samples as an image folder, with one subfolder per label."""
    from service.samples.export import write_folder

    settings, samples = _open(home)
    typer.echo(f"{write_folder(samples.read_all(model or settings.model), folder)} samples in {folder}")


@app.command(epilog="Example: glyphserve samples delete --label 7 --older-than-days 30")
def delete(
    ids: Annotated[list[str] | None, typer.Argument(help="IDs of samples.")] = None,
    label: Annotated[str | None, typer.Option(help="Delete samples with this label.")] = None,
    older_than_days: Annotated[float | None, typer.Option(min=0, help="Delete samples labelled before that.")] = None,
    key_name: Annotated[str | None, typer.Option(help="Delete labels submitted by a key with this name or ID.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete all samples of the model.")] = False,
    model: ModelOption = None,
    home: HomeOption = None,
) -> None:
    """Delete samples by ID, label, age or sender. This cannot be undone."""
    from service.api.keys import Keys, ids_named
    from service.registry.store import open_store
    from service.samples.store import sample_filter

    if not ids and label is None and older_than_days is None and not key_name and not everything:
        message = "name ids, --label, --older-than-days, --key-name, or --all"
        raise typer.BadParameter(message, param_hint="samples delete")
    settings, samples = _open(home)
    name = model or settings.model
    matches_filter = sample_filter(label, older_than_days, samples.list(name) if older_than_days is not None else [])

    def matches(entry: "Entry") -> bool:
        return matches_filter(entry) and (not ids or entry.sample_id in ids)

    if key_name:
        key_ids = ids_named(key_name, Keys(open_store(settings.store_location)).list())
        deleted = samples.delete_sent(name, key_name, key_ids, matches)
    else:
        deleted = samples.delete(name, matches)
    typer.echo(f"{deleted} samples deleted")


def _open(home: Path | None) -> "tuple[Settings, SampleStore]":
    from service.registry.store import open_store
    from service.samples.store import open_samples

    settings = load_settings(home)
    return settings, open_samples(open_store(settings.store_location), settings)
