"""`glyphserve train`: train in the foreground and publish the version, without a server."""

import signal
import sys
import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.context import HomeOption, load_settings, open_registry

if TYPE_CHECKING:
    from service.jobs.gate import GateDecision
    from service.jobs.job import JobRequest
    from service.jobs.runner import TrainingContext
    from service.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: glyphserve train --recipe starter --set epochs=5 --promote never")(train)


def train(
    recipe: Annotated[str, typer.Option(help="The recipe: starter, mnist, …")] = "starter",
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a setting; may be repeated.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="starter, mnist, or the path of a folder or file.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed.")] = None,
    promote: Annotated[str, typer.Option(help="always, if_better or never.")] = "if_better",
    model: Annotated[str | None, typer.Option(help="The model that gets the new version.")] = None,
    include_samples: Annotated[
        bool, typer.Option("--include-samples", help="Train on corrections from users too.")
    ] = False,
    start_from: Annotated[
        str | None, typer.Option(help="A version or an alias of the model to fine-tune, such as production.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Train a new version and promote it if it is at least as good as the serving one."""
    from service.errors import UnprocessableContent
    from service.jobs.job import JobRequest
    from service.jobs.runner import training_context
    from service.jobs.validation import validate_request
    from service.registry.store import open_store
    from training import ConfigError, recipes
    from training.recipes.overrides import parse_overrides

    if promote not in ("always", "if_better", "never"):
        raise typer.BadParameter("choose always, if_better or never", param_hint="--promote")
    settings = load_settings(home)
    open_registry(settings)
    context = training_context(settings, open_store(settings.store_location), settings.home / "scratch")
    try:
        recipe_settings = parse_overrides(changes or [], data=dataset, seed=seed)
        changed_recipe = recipes.get(recipe).replace(**recipe_settings)
        if changed_recipe.requires_initial_weights and changed_recipe.data.start_from is None:
            start_from = start_from or settings.alias
        request = JobRequest(recipe, recipe_settings, model or settings.model, promote, include_samples, start_from)
        request = validate_request(request, context.registry, context.inputs.samples, settings)
    except (ConfigError, UnprocessableContent) as error:
        field = f"{error.field}: " if isinstance(error, UnprocessableContent) and error.field else ""
        sys.stderr.write(f"error: {field}{error}\n")
        raise typer.Exit(2) from None
    version, decision = _run(settings, context, request)
    typer.echo(f"published {request.model} version {version}")
    if decision.reason:
        typer.echo(("promoted: " if decision.promoted else "not promoted: ") + decision.reason)
    if not decision.promoted:
        typer.echo(f"promote it manually: glyphserve models promote {request.model} {version}")


def _run(settings: "Settings", context: "TrainingContext", request: "JobRequest") -> "tuple[int, GateDecision]":
    """Train, publish, and promote the version if it passes the gate."""
    from service.cli.progress import training_progress
    from service.jobs.runner import promote_version, train_and_publish
    from service.jobs.trainer_process import TrainingFailedError, TrainingHooks

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up the child and the scratch folder as on Ctrl-C
    job_id = f"local-{uuid.uuid4().hex[:12]}"
    try:
        with training_progress() as on_event:
            version = train_and_publish(context, request, job_id, TrainingHooks(on_event))
    except TrainingFailedError as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; nothing was published\n")
        raise typer.Exit(130) from None
    else:
        return version, promote_version(settings, context, request, job_id, version)
    finally:
        context.checkpoints.delete(job_id)
