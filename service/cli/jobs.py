"""`glyphserve jobs`: look at training jobs, cancel them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Look at training jobs; cancel them.", no_args_is_help=True)

HomeOption = Annotated[Path | None, typer.Option(help="Folder of models and jobs.")]


@app.command("list", epilog="Example: glyphserve jobs list")
def list_jobs(home: HomeOption = None) -> None:
    """List jobs, newest first."""
    from rich.table import Table

    from service.cli.local import console, settings_for
    from service.jobs import Jobs

    table = Table("id", "state", "recipe", "epoch", "version", "created", "detail", box=None)
    for job in Jobs(settings_for(home)).list():
        epoch = f"{len(job.progress.history)}/{job.progress.epochs or '?'}"
        version = str(job.version or "")
        table.add_row(job.id, job.state, job.request.recipe, epoch, version, job.created, job.detail or "")
    console().print(table)


@app.command(epilog="Example: glyphserve jobs show job-1f0c…")
def show(job_id: str, home: HomeOption = None) -> None:
    """Show a job with all its epochs, as JSON."""
    from service.cli.local import settings_for
    from service.jobs import Jobs

    typer.echo(json.dumps(asdict(Jobs(settings_for(home)).get(job_id)), indent=2))


@app.command(epilog="Example: glyphserve jobs cancel job-1f0c…")
def cancel(job_id: str, home: HomeOption = None) -> None:
    """Cancel a job that has not ended."""
    from service.cli.local import settings_for
    from service.jobs import Jobs

    typer.echo(f"{job_id} is {Jobs(settings_for(home)).cancel(job_id).state}")
