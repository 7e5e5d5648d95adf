"""The plots of a model card. Needs matplotlib."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from training.data import Dataset
from training.evaluation.evaluate import Evaluation, evaluate
from training.report import plots
from training.report.measure import ReleasedModel

_COLUMNS = 16
_COLOURS = (plots.FIRST, plots.SECOND, "#16a34a", "#9333ea")


def all_misread(dataset: Dataset, evaluation: Evaluation) -> Figure:
    """Gallery of all misclassified examples with true and predicted class."""
    wrong = evaluation.misclassified
    rows = max(1, -(-len(wrong) // _COLUMNS))
    figure = Figure(figsize=(0.62 * _COLUMNS, 0.85 * rows + 0.5), layout="constrained")
    figure.suptitle(f"{len(wrong)} of {evaluation.examples:,} misread: true → read", fontsize=12)
    for index, row in enumerate(wrong, start=1):
        axes = figure.add_subplot(rows, _COLUMNS, index)
        axes.imshow(dataset.images[row], cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
        names = dataset.classes
        axes.set_title(f"{names[dataset.labels[row]]} → {names[evaluation.predicted[row]]}", fontsize=8, pad=2)
        axes.axis("off")
    return figure


def robustness(corruptions: list[dict[str, Any]]) -> Figure:
    """Accuracy against the level of each corruption; dashed with preprocessing."""
    figure = Figure(figsize=(3 * len(corruptions), 3.2), layout="constrained")
    for index, corruption in enumerate(corruptions, start=1):
        axes, levels = figure.add_subplot(1, len(corruptions), index), [row["level"] for row in corruption["levels"]]
        for kind, style, label in (("alone", "-", "network alone"), ("preprocessed", "--", "as in service")):
            shares = [100 * row[kind] for row in corruption["levels"]]
            axes.plot(levels, shares, style, color=_COLOURS[index - 1], marker="o", markersize=3, label=label)
        axes.set(title=corruption["damage"], xlabel=corruption["unit"], ylim=(0, 101))
        axes.grid(color="#e2e8f0", linewidth=0.8)
        if index == 1:
            axes.set_ylabel("read right, %")
            axes.legend(frameon=False, fontsize=8)
    return figure


def draw_card(model: ReleasedModel, figures: dict[str, Any], history: plots.History | None) -> list[str]:
    """Save the plots of a card into its folder and return their names; curves only if there is a history."""
    judged = evaluate(model.network, model.test)
    drawn = {
        "misread": all_misread(model.test, judged),
        "confusion": plots.confusion(model.test, judged),
        "robustness": robustness(figures["damages"]),
        "first_layer": plots.first_layer(model.network),
    }
    if history:
        drawn |= {"accuracy": plots.accuracy_curves(history), "loss": plots.loss_curve(history)}
    for name, figure in drawn.items():
        plots.save(figure, model.folder / f"{name}.png")
    kept = [name for name in ("accuracy", "loss") if name not in drawn and (model.folder / f"{name}.png").exists()]
    return sorted(f"{name}.png" for name in (*drawn, *kept))


def picture_names(folder: Path) -> list[str]:
    """List the PNG files of a folder."""
    return sorted(path.name for path in folder.glob("*.png"))
