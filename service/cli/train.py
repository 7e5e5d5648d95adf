"""`glyphserve train`: train in the foreground and publish the version, without a server."""

import signal
import sys
import uuid
from functools import partial
from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: glyphserve train --recipe starter --set epochs=5 --promote never")(train)


def train(
    recipe: Annotated[str, typer.Option(help="Which recipe to follow: starter, mnist, …")] = "starter",
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a setting; may be repeated.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="starter, mnist, or a folder or file of one's own.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    promote: Annotated[str, typer.Option(help="always, if_better or never.")] = "if_better",
    model: Annotated[str | None, typer.Option(help="The model that gets the new version.")] = None,
    include_samples: Annotated[
        bool, typer.Option("--include-samples", help="Learn from what users have put right, too.")
    ] = False,
    start_from: Annotated[
        str | None, typer.Option(help="A version or an alias of the model to go on from, such as production.")
    ] = None,
    home: Annotated[Path | None, typer.Option(help="Folder of models and jobs.")] = None,
) -> None:
    """Train a new version; it takes over when it is at least as good as the serving one."""
    from service.cli.context import load_settings, open_registry
    from service.cli.progress import training_progress
    from service.errors import InvalidInput
    from service.jobs.checkpoints import Checkpoints
    from service.jobs.gate import GatePolicy, decide_promotion
    from service.jobs.inputs import JobInputs
    from service.jobs.job import JobRequest
    from service.jobs.runner import TrainingContext, train_and_publish
    from service.jobs.trainer_process import TrainingFailedError, TrainingHooks
    from service.jobs.validation import validate_request
    from service.registry.store import open_store
    from service.samples.store import open_samples
    from training import ConfigError, recipes
    from training.recipes.overrides import read_changes

    if promote not in ("always", "if_better", "never"):
        raise typer.BadParameter("choose always, if_better or never", param_hint="--promote")
    settings = load_settings(home)
    registry, store = open_registry(settings), open_store(settings.store_location)
    try:
        wanted = read_changes(changes or [], data=dataset, seed=seed)
        chosen = recipes.get(recipe).replace(**wanted)
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(2) from None
    if chosen.continues and chosen.data.start_from is None:
        start_from = start_from or settings.alias
    samples = open_samples(store, settings)
    asked = JobRequest(recipe, wanted, model or settings.model, promote, include_samples, start_from)
    try:
        request = validate_request(asked, registry, samples, settings)
    except InvalidInput as error:
        sys.stderr.write(f"error: {error.field}: {error}\n" if error.field else f"error: {error}\n")
        raise typer.Exit(2) from None
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the child and the scratch folder go, as with Ctrl-C
    job_id = f"local-{uuid.uuid4().hex[:12]}"
    inputs = JobInputs(store, samples, registry, settings.datasets_dir)
    place = TrainingContext(registry, Checkpoints(store), inputs, settings.home / "scratch", settings.train_threads)
    try:
        with training_progress() as tell:
            version = train_and_publish(place, request, job_id, TrainingHooks(tell))
    except TrainingFailedError as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; nothing was published\n")
        raise typer.Exit(130) from None
    else:
        judged = partial(inputs.holdout_samples, request, job_id, version)
        rules = GatePolicy(judged, settings.max_predict_ms, settings.datasets_dir)
        verdict = decide_promotion(registry, settings.alias, request, version, rules)
    finally:
        place.checkpoints.delete(job_id)
    typer.echo(f"published {request.model} version {version}")
    if verdict.reason:
        typer.echo(("promoted: " if verdict.promoted else "not promoted: ") + verdict.reason)
    if not verdict.promoted:
        typer.echo(f"promote it by hand: glyphserve models promote {request.model} {version}")
