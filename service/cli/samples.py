"""`glyphserve samples`: look at what users have put right, add to it, export it, delete it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from service.samples.store import Entry, SampleStore
    from service.settings import Settings

app = typer.Typer(help="Look at the samples that users have put right; add, export, delete.", no_args_is_help=True)

HomeOption = Annotated[Path | None, typer.Option(help="Folder of models and jobs.")]
ModelOption = Annotated[str | None, typer.Option(help="Of another model than the default.")]


@app.command("list", epilog="Example: glyphserve samples list")
def list_samples(
    model: ModelOption = None,
    most: Annotated[int, typer.Option(min=0, help="How many of the newest to show.")] = 20,
    home: HomeOption = None,
) -> None:
    """Count samples by label, and list the newest."""
    from rich.table import Table

    from service.cli.context import console
    from service.samples.store import count_by_label

    settings, samples = _open(home)
    entries = samples.list(model or settings.model)
    counts = ", ".join(f"{label}: {count}" for label, count in count_by_label(entries).items())
    typer.echo(f"{len(entries)} samples" + (f" ({counts})" if counts else ""))
    table = Table("id", "label", "since", box=None)
    for entry in entries[:most]:
        table.add_row(entry.sample_id, entry.label, entry.since)
    console().print(table)


@app.command(epilog="Example: glyphserve samples add 7 seven.png other-seven.jpg")
def add(
    label: Annotated[str, typer.Argument(help="What the images show.")],
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG, BMP, GIF or WEBP files.")],
    model: ModelOption = None,
    home: HomeOption = None,
) -> None:
    """Add images with their right label. Exit code 1 when any of them could not be read."""
    from service.cli.context import open_registry
    from service.errors import InvalidInput, ServiceError
    from service.images import ImageLimits, read_glyph
    from service.samples.sample import Provenance

    settings, samples = _open(home)
    name = model or settings.model
    registry = open_registry(settings)
    labels = registry.manifest(name, registry.alias(name, settings.alias).version).labels
    if label not in labels:
        raise InvalidInput(f"{name} has no such label; it knows {', '.join(labels[:50])}")
    limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels, settings.max_image_side)
    added = failed = 0
    for path in images:
        try:
            _, is_new = samples.add(name, read_glyph(path.read_bytes(), limits), label, Provenance("command"))
            added += is_new
        except (ServiceError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            sys.stderr.write(f"{path}: {reason}\n")
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
    """Write all samples as an image folder: a folder a label."""
    from service.samples.export import write_folder

    settings, samples = _open(home)
    typer.echo(f"{write_folder(samples.read_all(model or settings.model), folder)} samples in {folder}")


@app.command(epilog="Example: glyphserve samples delete --label 7 --older-than-days 30")
def delete(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of samples.")] = None,
    label: Annotated[str | None, typer.Option(help="All with this label.")] = None,
    older_than_days: Annotated[float | None, typer.Option(min=0, help="All labelled so long ago.")] = None,
    key_name: Annotated[str | None, typer.Option(help="All labels that a key of this name, or id, sent.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of the model.")] = False,
    model: ModelOption = None,
    home: HomeOption = None,
) -> None:
    """Delete samples by id, label, age or who sent them. Nothing brings them back."""
    from service.keys import Keys, ids_named
    from service.registry.store import open_store
    from service.samples.store import sample_filter

    if not ids and label is None and older_than_days is None and not key_name and not everything:
        known = "name ids, --label, --older-than-days, --key-name, or --all"
        raise typer.BadParameter(known, param_hint="samples delete")
    settings, samples = _open(home)
    name = model or settings.model
    choose = sample_filter(label, older_than_days, samples.list(name) if older_than_days is not None else [])

    def chosen(entry: "Entry") -> bool:
        return choose(entry) and (not ids or entry.sample_id in ids)

    if key_name:
        key_ids = ids_named(key_name, Keys(open_store(settings.store_location)).list())
        deleted = samples.delete_sent(name, key_name, key_ids, chosen)
    else:
        deleted = samples.delete(name, chosen)
    typer.echo(f"{deleted} samples deleted")


def _open(home: Path | None) -> "tuple[Settings, SampleStore]":
    from service.cli.context import load_settings
    from service.registry.store import open_store
    from service.samples.store import open_samples

    settings = load_settings(home)
    return settings, open_samples(open_store(settings.store_location), settings)
