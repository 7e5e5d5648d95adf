"""`glyphserve backup` and `glyphserve restore`: everything that is kept, as one file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The backup, a .tar.gz.")]
HomeOption = Annotated[Path | None, typer.Option(help="Folder for models and jobs.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: glyphserve backup monday.tar.gz")(backup)
    app.command(epilog="Example: glyphserve restore monday.tar.gz --home /var/lib/glyphserve")(restore)


def backup(file: FileArgument, home: HomeOption = None) -> None:
    """Write models, aliases, samples, keys and jobs to a file, also while the service runs."""
    from service.backup import back_up
    from service.cli.context import load_settings

    settings = load_settings(home)
    contents = back_up(settings, file)
    if not contents.objects and not contents.jobs:
        file.unlink()
        sys.stderr.write(
            f"error: nothing to back up: there is nothing in {settings.store_location} and no jobs in "
            f"{settings.home}; is --home or GLYPHSERVE_HOME right?\n"
        )
        raise typer.Exit(1)
    typer.echo(f"{contents.objects} objects{' and the jobs' if contents.jobs else ''}: {file}")
    if not settings.database_location.startswith("sqlite:"):
        sys.stderr.write(
            "note: the jobs are in a database of their own and not in this file; back them up with its own means "
            "(pg_dump --format=custom), before the store\n"
        )


def restore(
    file: FileArgument,
    home: HomeOption = None,
    without_jobs: Annotated[bool, typer.Option("--without-jobs", help="Leave the jobs out.")] = False,
) -> None:
    """Bring a backup back into an empty home, before the service is started there."""
    from service.backup import restore as bring_back
    from service.cli.context import load_settings

    contents = bring_back(load_settings(home), file, jobs=not without_jobs)
    jobs = " and the jobs" if contents.jobs and not without_jobs else ""
    typer.echo(f"restored {contents.objects} objects{jobs} of {contents.created}")
