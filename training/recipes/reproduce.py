"""Reproduction of published systems: runs their recipes and compares the accuracies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training.fit.history import best_epoch
from training.recipes.config import Recipe
from training.recipes.experiment import Experiment


@dataclass(frozen=True)
class Result:
    """The result of one recipe with one seed."""

    recipe: Recipe
    seed: int
    accuracy: float
    right: int
    examples: int
    train_seconds: float
    """Training time, without loading and validation."""

    @property
    def reached(self) -> bool:
        """Whether the published accuracy is reached."""
        return self.recipe.published is None or self.accuracy >= self.recipe.published.accuracy


def reproduce(recipes: Sequence[Recipe], seeds: int | None = None) -> Iterator[Result]:
    """Run each recipe with `seeds` seeds, by default the number in its Published."""
    for recipe in recipes:
        published = recipe.published
        for seed in range(seeds or (published.seeds if published else 1)):
            experiment = Experiment(recipe.replace(seed=seed))
            history = list(experiment.epochs())
            seconds = sum(epoch.seconds for epoch in history)
            if published and published.best_epoch:
                best = best_epoch(history)
                accuracy = (best.monitored.accuracy if best else None) or 0.0
                count = len(experiment.splits.final_test)
            else:
                evaluation = experiment.evaluation(published.split if published else "test")
                accuracy, count = evaluation.accuracy, evaluation.examples
            yield Result(recipe, seed, accuracy, round(accuracy * count), count, seconds)


def table(results: Sequence[Result]) -> str:
    """Return a Markdown table: published accuracy, ours (median and range over seeds), training time."""
    rows = ["| recipe | published | ours | seeds | reached | seconds of training |", "|---|---|---|---|---|---|"]
    for name in dict.fromkeys(result.recipe.name for result in results):
        mine = [result for result in results if result.recipe.name == name]
        accuracies = sorted(result.accuracy for result in mine)
        seconds = sorted(result.train_seconds for result in mine)[len(mine) // 2]
        spread = f" ({accuracies[0]:.2%} to {accuracies[-1]:.2%})" if len(mine) > 1 else ""
        quote = mine[0].recipe.published.quote if mine[0].recipe.published else ""
        reached = sum(result.reached for result in mine)
        rows.append(
            f"| `{name}` | {quote} | {accuracies[len(mine) // 2]:.2%}{spread} | {len(mine)} | {reached} of {len(mine)} "
            f"| {seconds:.2f} |"
        )
    return "\n".join(rows)
