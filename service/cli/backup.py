"""`glyphserve backup` and `glyphserve restore`: all stored data in one file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from service.cli.context import HomeOption, load_settings

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The backup, a .tar.gz.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: glyphserve backup monday.tar.gz")(backup)
    app.command(epilog="Example: glyphserve restore monday.tar.gz --home /var/lib/glyphserve")(restore)


def backup(file: FileArgument, home: HomeOption = None) -> None:
    """Write models, aliases, samples, keys and jobs to a file. The service may be running."""
    from service.backup import create_backup

    settings = load_settings(home)
    contents = create_backup(settings, file)
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
            "note: the jobs are in an external database and not in this file; back that up before the store, "
            "for example with pg_dump --format=custom\n"
        )


def restore(
    file: FileArgument,
    home: HomeOption = None,
    without_jobs: Annotated[bool, typer.Option("--without-jobs", help="Do not restore the jobs.")] = False,
) -> None:
    """Restore a backup into an empty home folder, before the service is started there."""
    from service.backup import restore as restore_backup

    contents = restore_backup(load_settings(home), file, jobs=not without_jobs)
    jobs = " and the jobs" if contents.jobs and not without_jobs else ""
    typer.echo(f"restored {contents.objects} objects{jobs} of {contents.created}")
