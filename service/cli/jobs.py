"""`glyphserve jobs`: look at training jobs, watch them, cancel them."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Look at training jobs; watch and cancel them.", no_args_is_help=True)

HomeOption = Annotated[Path | None, typer.Option(help="Folder of models and jobs.")]
_WATCH_SECONDS = 0.5


@app.command("list", epilog="Example: glyphserve jobs list")
def list_jobs(home: HomeOption = None) -> None:
    """List jobs, newest first."""
    from rich.table import Table

    from service.cli.local import console, settings_for
    from service.jobs import Jobs

    table = Table("id", "state", "recipe", "epoch", "version", "created", "detail", box=None)
    for job in Jobs(settings_for(home)).list():
        epoch = f"{job.progress.epoch}/{job.progress.epochs or '?'}"
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


@app.command(epilog="Example: glyphserve jobs watch job-1f0c…")
def watch(job_id: str, home: HomeOption = None) -> None:
    """Follow a job until it ends. Exit code 1 when it fails or is cancelled."""
    from service.cli.local import settings_for
    from service.cli.progress import training_progress
    from service.jobs import Jobs

    jobs = Jobs(settings_for(home))
    job = jobs.get(job_id)
    shown: dict[str, Any] | None = None
    with training_progress() as tell:
        tell({"event": "start", "epochs": job.progress.epochs})
        while True:
            history = job.progress.history
            known = history.index(shown) + 1 if shown in history else 0
            for shown in history[known:]:
                tell(shown)
            if job.is_final:
                break
            time.sleep(_WATCH_SECONDS)
            job = jobs.get(job_id)
    outcome = f"version {job.version}" if job.version else ""
    typer.echo(": ".join(part for part in (f"{job_id} {job.state}", outcome, job.detail) if part))
    if job.state in ("failed", "cancelled"):
        raise typer.Exit(1)
