"""`glyphserve jobs`: look at training jobs, watch them, cancel them, free them from a worker that is gone."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from service.jobs.job import Job
    from service.jobs.queue import JobQueue

app = typer.Typer(help="Look at training jobs; watch, cancel and recover them.", no_args_is_help=True)

HomeOption = Annotated[Path | None, typer.Option(help="Folder of models and jobs.")]
_WATCH_SECONDS = 0.3


@app.command("list", epilog="Example: glyphserve jobs list")
def list_jobs(
    most: Annotated[int, typer.Option(min=1, help="How many of the newest to show.")] = 50, home: HomeOption = None
) -> None:
    """List the newest jobs."""
    from rich.table import Table

    from service.cli.context import console, load_settings
    from service.jobs.queue import JobQueue

    table = Table("id", "state", "recipe", "epoch", "attempts", "version", "created", "detail", box=None)
    for job in JobQueue(load_settings(home)).page(most)[0]:
        epoch = f"{job.progress.epoch}/{job.progress.epochs or '?'}"
        version = str(job.version or "")
        begun = str(job.attempts)
        table.add_row(job.id, job.state, job.request.recipe, epoch, begun, version, job.created, job.detail or "")
    console().print(table)


@app.command(epilog="Example: glyphserve jobs show job-1f0c…")
def show(job_id: str, home: HomeOption = None) -> None:
    """Show a job with all its epochs, a search with its trials, as JSON."""
    from service.cli.context import load_settings
    from service.jobs.queue import JobQueue

    jobs = JobQueue(load_settings(home))
    job = jobs.get(job_id)
    typer.echo(json.dumps(asdict(job) | {"trials": [asdict(trial) for trial in jobs.trials(job)]}, indent=2))


@app.command(epilog="Example: glyphserve jobs cancel job-1f0c…")
def cancel(job_id: str, home: HomeOption = None) -> None:
    """Cancel a job that has not ended."""
    from service.cli.context import load_settings
    from service.jobs.queue import JobQueue

    typer.echo(f"{job_id} is {JobQueue(load_settings(home)).cancel(job_id).state}")


@app.command(epilog="Example: glyphserve jobs watch job-1f0c…")
def watch(job_id: str, home: HomeOption = None) -> None:
    """Follow a job until it ends. Exit code 1 when it fails or is cancelled."""
    from service.cli.context import load_settings
    from service.cli.progress import training_progress
    from service.jobs.events import JobEventCursor
    from service.jobs.queue import JobQueue

    jobs, news = JobQueue(load_settings(home)), JobEventCursor()
    job = jobs.get(job_id)
    with training_progress() as tell:
        tell({"event": "start", "epochs": job.progress.epochs})
        while True:
            for piece in news.new_events(job):
                tell({"event": piece.kind, "epochs": job.progress.epochs} | piece.data)
            if job.is_final:
                break
            time.sleep(_WATCH_SECONDS)
            job = jobs.get(job_id)
    _print_trials(jobs, job)
    outcome = f"version {job.version}" if job.version else ""
    typer.echo(": ".join(part for part in (f"{job_id} {job.state}", outcome, job.detail) if part))
    if job.state in ("failed", "cancelled"):
        raise typer.Exit(1)


def _print_trials(jobs: "JobQueue", search: "Job") -> None:
    """Draw the table of a search, the best trial first."""
    from rich.table import Table

    from service.cli.context import console
    from service.jobs.job import trial_settings, trial_sort_key

    if not search.request.trials:
        return
    names = list(search.request.trials[0])
    table = Table("rank", "accuracy", "loss", "epochs", "seconds", *names, "trial", box=None)
    for number, trial in enumerate(sorted(jobs.trials(search), key=trial_sort_key), start=1):
        figures, settings = trial.metrics, trial_settings(search, trial)
        shown = [f"{figures[name]:.4f}" if figures.get(name) is not None else "–" for name in ("accuracy", "loss")]
        shown += [str(figures.get(name, "–")) for name in ("epochs", "seconds")]
        table.add_row(str(number), *shown, *(str(settings[name]) for name in names), f"{trial.id} {trial.state}")
    console().print(table)


@app.command(epilog="Example: glyphserve jobs recover --worker worker-host-0")
def recover(
    worker: Annotated[str | None, typer.Option(help="The worker that is gone; else all that are silent.")] = None,
    home: HomeOption = None,
) -> None:
    """Queue again the jobs of workers that are gone for good, before others take them over by themselves.

    Without a name it listens for as long as every living worker gives a sign of life. Never name one that lives: its
    job would be begun a second time beside it.
    """
    from service.cli.context import load_settings
    from service.jobs.queue import JobQueue

    settings = load_settings(home)
    jobs = JobQueue(settings)
    taken = [job for job in jobs.running() if worker in (None, job.executor_id)]
    if worker is None and taken:
        typer.echo(f"listening for {settings.sign_of_life_seconds * 2:.0f} s")
        time.sleep(settings.sign_of_life_seconds * 2)
        taken = sorted(set(taken) & set(jobs.running()), key=lambda job: job.job_id)
    for job in taken:
        if jobs.requeue(job):
            typer.echo(f"{job.job_id} of {job.executor_id} is queued again")
    if not taken:
        typer.echo("no job waits for a worker that is gone")
