"""`glyphserve jobs`: list, watch and cancel training jobs; requeue those of dead workers."""

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.context import HomeOption, console, load_settings

if TYPE_CHECKING:
    from service.jobs.job import Job
    from service.jobs.queue import JobQueue

app = typer.Typer(help="List, watch, cancel and recover training jobs.", no_args_is_help=True)

_POLL_SECONDS = 0.3


@app.command("list", epilog="Example: glyphserve jobs list")
def list_jobs(
    limit: Annotated[int, typer.Option("--most", min=1, help="Number of jobs to print, newest first.")] = 50,
    home: HomeOption = None,
) -> None:
    """Print the newest jobs."""
    from rich.table import Table

    from service.jobs.queue import JobQueue

    table = Table("id", "state", "recipe", "epoch", "attempts", "version", "created", "detail", box=None)
    for job in JobQueue(load_settings(home)).page(limit)[0]:
        epoch = f"{job.progress.epoch}/{job.progress.epochs or '?'}"
        version, attempts = str(job.version or ""), str(job.attempts)
        table.add_row(job.id, job.state, job.request.recipe, epoch, attempts, version, job.created, job.detail or "")
    console().print(table)


@app.command(epilog="Example: glyphserve jobs show job-1f0c…")
def show(job_id: str, home: HomeOption = None) -> None:
    """Print a job with all its epochs, and a search with its trials, as JSON."""
    from service.jobs.queue import JobQueue

    jobs = JobQueue(load_settings(home))
    job = jobs.get(job_id)
    typer.echo(json.dumps(_to_json(job) | {"trials": [_to_json(trial) for trial in jobs.trials(job)]}, indent=2))


def _to_json(job: "Job") -> dict[str, Any]:
    """Return all fields of a job; those that were renamed also have their old names for one release."""
    progress = asdict(job.progress) | {"deaths": job.progress.trainer_crashes}
    return asdict(job) | {"progress": progress, "returned": job.requeues, "figures": job.metrics}


@app.command(epilog="Example: glyphserve jobs cancel job-1f0c…")
def cancel(job_id: str, home: HomeOption = None) -> None:
    """Cancel a job that has not ended."""
    from service.jobs.queue import JobQueue

    typer.echo(f"{job_id} is {JobQueue(load_settings(home)).cancel(job_id).state}")


@app.command(epilog="Example: glyphserve jobs watch job-1f0c…")
def watch(job_id: str, home: HomeOption = None) -> None:
    """Print the progress of a job until it ends. Exits with code 1 if it fails or is cancelled."""
    from service.cli.progress import training_progress
    from service.jobs.events import JobEventCursor
    from service.jobs.queue import JobQueue

    jobs, cursor = JobQueue(load_settings(home)), JobEventCursor()
    job = jobs.get(job_id)
    with training_progress() as on_event:
        on_event({"event": "start", "epochs": job.progress.epochs})
        while True:
            for event in cursor.new_events(job):
                on_event({"event": event.kind, "epochs": job.progress.epochs} | event.data)
            if job.is_final:
                break
            time.sleep(_POLL_SECONDS)
            job = jobs.get(job_id)
    _print_trials(jobs, job)
    outcome = f"version {job.version}" if job.version else ""
    typer.echo(": ".join(part for part in (f"{job_id} {job.state}", outcome, job.detail) if part))
    if job.state in ("failed", "cancelled"):
        raise typer.Exit(1)


def _print_trials(jobs: "JobQueue", search: "Job") -> None:
    """Print the table of a search, the best trial first."""
    from rich.table import Table

    from service.jobs.job import trial_settings, trial_sort_key

    if not search.request.trials:
        return
    names = list(search.request.trials[0])
    table = Table("rank", "accuracy", "loss", "epochs", "seconds", *names, "trial", box=None)
    for rank, trial in enumerate(sorted(jobs.trials(search), key=trial_sort_key), start=1):
        metrics, settings = trial.metrics, trial_settings(search, trial)
        cells = [f"{metrics[name]:.4f}" if metrics.get(name) is not None else "–" for name in ("accuracy", "loss")]
        cells += [str(metrics.get(name, "–")) for name in ("epochs", "seconds")]
        table.add_row(str(rank), *cells, *(str(settings[name]) for name in names), f"{trial.id} {trial.state}")
    console().print(table)


@app.command(epilog="Example: glyphserve jobs recover --worker worker-host-0")
def recover(
    worker: Annotated[
        str | None, typer.Option(help="The ID of the dead worker; by default all workers without a heartbeat.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Requeue the jobs of dead workers now, instead of waiting until another worker takes them over.

    Without --worker the command first waits for two heartbeat intervals. Never name a worker that is alive: its job
    would run twice.
    """
    from service.jobs.queue import JobQueue

    settings = load_settings(home)
    jobs = JobQueue(settings)
    orphans = [job for job in jobs.running() if worker in (None, job.executor_id)]
    if worker is None and orphans:
        wait_seconds = settings.sign_of_life_seconds * 2
        typer.echo(f"waiting {wait_seconds:.0f} s for heartbeats")
        time.sleep(wait_seconds)
        orphans = sorted(set(orphans) & set(jobs.running()), key=lambda job: job.job_id)
    for job in orphans:
        if jobs.requeue(job):
            typer.echo(f"requeued {job.job_id} of {job.executor_id}")
    if not orphans:
        typer.echo("no job belongs to a dead worker")
