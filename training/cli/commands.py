"""The other commands: evaluate, search, gradcheck, plot, export, describe, reproduce."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from training import recipes
from training.atomic import write_atomically
from training.cli.card_commands import app as card_commands
from training.cli.card_commands import print_figures
from training.cli.options import EXIT_FAILED, DataOption, RecipeOption, SetOption, console, exit_on_error
from training.cli.reporters import download_progress
from training.data import load_dataset
from training.errors import ConfigError
from training.evaluation.evaluate import Evaluation, evaluate
from training.export.npz import load, save
from training.recipes.overrides import parse_overrides

app = typer.Typer()
app.add_typer(card_commands)

WeightsArgument = Annotated[Path, typer.Argument(help="A weights.npz.")]


@app.command(name="evaluate", epilog="Example: python -m training evaluate models/mnist/2")
def evaluate_command(
    weights: Annotated[
        Path, typer.Argument(help="A weights.npz, or the folder of a model for all that its card tells.")
    ],
    data: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Evaluate a network on a data set, by default MNIST: on its test examples if it has any, else on all."""
    if weights.is_dir() and data is None:
        print_figures(weights, as_json=as_json)
        return
    with exit_on_error(as_json=as_json):
        source = load_dataset(data or "mnist", download_progress("none" if as_json else "bar"))
        examined = source.test or source.train
        result = evaluate(load(weights), examined)
    if as_json:
        figures = {"examples": result.examples, "accuracy": result.accuracy, "top_3_accuracy": result.top_3_accuracy}
        figures |= {"calibration_error": result.calibration_error, "confusion": result.confusion_matrix.tolist()}
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        _print_evaluation(result, examined.classes)


@app.command(
    name="search",
    epilog="""Example: python -m training search --space '{"batch_size": [32, 128]}' --results runs/search.jsonl""",
)
def search_command(
    space: Annotated[str, typer.Option(help="JSON: setting → choices, or a range {low, high, log, int}.")],
    recipe: RecipeOption = "starter",
    data: DataOption = None,
    changes: SetOption = None,
    trials: Annotated[int | None, typer.Option(help="Number of random trials; by default the whole grid.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random trials.")] = 0,
    results: Annotated[Path, typer.Option(help="File of finished trials, for resuming.")] = Path("runs/search.jsonl"),
) -> None:
    """Search hyperparameters and rank the trials."""
    from training.recipes.search import grid, rank_trials, sample_settings, search

    with exit_on_error():
        wanted = parse_overrides([], space)
        chosen = recipes.get(recipe).replace(**parse_overrides(changes or [], data=data))
        candidates = sample_settings(chosen, wanted, trials, seed) if trials is not None else grid(chosen, wanted)
        done = []
        for trial in search(chosen, candidates, results):
            done.append(trial)
            typer.echo(f"{len(done)}/{len(candidates)}  {_share(trial.accuracy)}  {trial.settings}", err=True)
    table = Table("rank", "accuracy", "loss", "epochs", "seconds", *wanted, box=None)
    for rank, trial in enumerate(rank_trials(done), start=1):
        loss = "diverged" if trial.loss is None else f"{trial.loss:.4f}"
        values = (str(trial.settings[name]) for name in wanted)
        table.add_row(str(rank), _share(trial.accuracy), loss, str(trial.epochs), f"{trial.seconds:.1f}", *values)
    console().print(table)


@app.command(name="gradcheck", epilog="Example: python -m training gradcheck --recipe deep_exercises")
def gradcheck_command(recipe: RecipeOption = "starter", changes: SetOption = None) -> None:
    """Compare backpropagation with numerical gradients, in float64, array by array."""
    from training.recipes.feasibility import check_gradients

    with exit_on_error():
        errors_of = check_gradients(recipes.get(recipe).replace(**parse_overrides(changes or [], data="starter")))
    for name, error in errors_of.items():
        typer.echo(f"{name}: relative error {error:.2e}: " + ("right" if error <= 1e-6 else "WRONG"))
    if max(errors_of.values()) > 1e-6:
        raise typer.Exit(EXIT_FAILED)


@app.command(name="plot", epilog="Example: python -m training plot models/mnist/1/weights.npz --out runs/pictures")
def plot_command(
    weights: WeightsArgument,
    data: DataOption = "mnist",
    out: Annotated[Path, typer.Option(help="Folder for the plots.")] = Path("runs/pictures"),
) -> None:
    """Plot a data set, the errors of a network, its confusion matrix and its first layer, as PNG and SVG."""
    with exit_on_error():
        from training.report.plots import draw_all

        source = load_dataset(data or "mnist", download_progress("bar"))
        shown, network = source.test or source.train, load(weights)
        for path in draw_all(out, dataset=shown, evaluation=evaluate(network, shown), network=network):
            typer.echo(str(path))


@app.command(name="export", epilog="Example: python -m training export models/mnist/1/weights.npz model.onnx")
def export_command(weights: WeightsArgument, target: Annotated[Path, typer.Argument(help="An .onnx or .npz.")]) -> None:
    """Convert a network to ONNX, or check and rewrite an .npz."""
    with exit_on_error():
        network = load(weights)
        if target.suffix == ".onnx":
            from training.export.onnx import to_onnx

            write_atomically(target, to_onnx(network))
        elif target.suffix == ".npz":
            save(network, target)
        else:
            raise ConfigError(f"{target} must end in .onnx or .npz", field="target")
    typer.echo(str(target))


@app.command(name="describe", epilog="Example: python -m training describe models/mnist/1")
def describe_command(model: Annotated[Path, typer.Argument(help="A folder with a manifest.json.")]) -> None:
    """Add the profile of the training data to a manifest of an old release.

    The data is loaded by the manifest's settings and must have its fingerprint.
    """
    from training.evaluation.data_profile import profile
    from training.recipes.experiment import load_splits

    path = model / "manifest.json"
    with exit_on_error():
        manifest = json.loads(path.read_bytes())
        examples = load_splits(
            recipes.get(manifest["recipe"]).replace(**manifest["settings"]), download_progress("bar")
        ).train
        if examples.fingerprint() != manifest["data"]["fingerprint"]:
            raise ConfigError(f"these are not the {manifest['data']['name']} examples it was trained on", field="data")
        manifest["baseline"] = profile(examples)
        write_atomically(path, (json.dumps(manifest, indent=2) + "\n").encode())
    typer.echo(json.dumps(manifest["baseline"]))


@app.command(name="reproduce", epilog="Example: python -m training reproduce nielsen coursera --out reproduced.md")
def reproduce_command(
    names: Annotated[list[str] | None, typer.Argument(help="Recipes; by default all published ones.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds a recipe; by default as many as its goal asks for.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the table into this file, too.")] = None,
) -> None:
    """Train the published systems and compare accuracies. Exit code 1 if one is not reached."""
    from training.recipes.reproduce import reproduce, table

    with exit_on_error():
        chosen = (
            [recipes.get(name) for name in names] if names else [r for r in recipes.RECIPES.values() if r.published]
        )
        results = []
        for result in reproduce(chosen, seeds):
            results.append(result)
            figures = f"{result.accuracy:.2%} ({result.right:,} / {result.examples:,}) in {result.train_seconds:.2f} s"
            typer.echo(f"{result.recipe.name} seed {result.seed}: {figures}", err=True)
    typer.echo(table(results))
    if out:
        out.write_text(table(results) + "\n")
    if not all(result.reached for result in results):
        raise typer.Exit(EXIT_FAILED)


def _print_evaluation(result: Evaluation, classes: tuple[str, ...]) -> None:
    report, screen = result.report, console()
    screen.print(
        f"[bold]{result.accuracy:.2%}[/] right ({len(result.misclassified)} of {result.examples:,} wrong), "
        f"{result.top_3_accuracy:.2%} in the first three, calibration error {result.calibration_error:.4f}"
    )
    table = Table("class", "precision", "recall", "F1", "examples", *(f"as {name}" for name in classes), box=None)
    for number, name in enumerate(classes):
        figures = (report.precision[number], report.recall[number], report.f1[number])
        row = [f"{figure:.4f}" for figure in figures] + [str(report.support[number])]
        table.add_row(name, *row, *map(str, result.confusion_matrix[number]))
    screen.print(table)


def _share(accuracy: float | None) -> str:
    return "–" if accuracy is None else f"{accuracy:.2%}"
