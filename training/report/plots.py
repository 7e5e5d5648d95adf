"""Pictures of data, of learning, and of what was learned. They need matplotlib: `pip install glyphserve[plots]`.

Each is a function that answers a Figure of its own; matplotlib's global state is never touched, so pictures may be
drawn anywhere, also in a server's threads. The table at the end names them and says what each is a picture of.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from training.data.dataset import Dataset
from training.errors import ConfigError, DataError
from training.evaluation.evaluate import Evaluation
from training.fit.history import Epoch
from training.nn.layers import Dense
from training.nn.mlp import MLP
from training.types import Floats, Pixels

History = Sequence[Epoch | Mapping[str, Any]]
"""Epochs, or dictionaries as returned by `Epoch.to_dict` and printed as JSON lines."""

FIRST, SECOND, QUIET = "#2563eb", "#ea580c", "#64748b"
DOTS_PER_INCH = 144


def digits(dataset: Dataset, *, columns: int = 20) -> Figure:
    """Gallery of the first examples of each class, one row per class."""
    rows = [dataset.images[dataset.labels == label][:columns] for label in range(len(dataset.classes))]
    tiles = np.zeros((len(rows), columns, *dataset.images.shape[1:]), np.uint8)
    for tile, images in zip(tiles, rows, strict=True):
        tile[: len(images)] = images
    figure, axes = _figure(0.42 * columns + 0.6, 0.42 * len(rows) + 0.5, dataset.name)
    _mosaic(axes, tiles)
    side = dataset.images.shape[1]
    axes.set_yticks((np.arange(len(rows)) + 0.5) * side - 0.5, dataset.classes)
    return figure


def variants(dataset: Dataset, *, label: int = 0) -> Figure:
    """25 examples of one class."""
    images = dataset.images[dataset.labels == label][:25]
    if not len(images):
        raise DataError(f"{dataset.name} has no examples of class {label}")
    tiles = np.zeros((25, *images.shape[1:]), np.uint8)
    tiles[: len(images)] = images
    figure, axes = _figure(4, 4.3, f"{len(images)} variants of {dataset.classes[label]}")
    _mosaic(axes, tiles.reshape(5, 5, *images.shape[1:]))
    axes.set_yticks([])
    return figure


def loss_curve(history: History) -> Figure:
    """Training and validation loss by epoch."""
    figure, axes = _figure(6.4, 4, "Loss")
    _curves(axes, history, "loss")
    axes.set_ylim(bottom=0)
    return figure


def accuracy_curves(history: History) -> Figure:
    """Training and validation accuracy by epoch."""
    figure, axes = _figure(6.4, 4, "Accuracy")
    _curves(axes, history, "accuracy")
    low, high = axes.get_ylim()
    axes.set_ylim(top=min(high, 1 + 0.02 * (1 - low)))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


def misclassified(dataset: Dataset, evaluation: Evaluation) -> Figure:
    """The first 25 misclassified examples with true and predicted class."""
    wrong = evaluation.misclassified[:25]
    figure = Figure(figsize=(6, 6.9), layout="constrained")
    figure.suptitle(f"{len(wrong)} of {len(evaluation.misclassified):,} misread: true → read", fontsize=12)
    for place, row in enumerate(wrong, start=1):
        axes = figure.add_subplot(5, 5, place)
        axes.imshow(dataset.images[row], cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
        names = dataset.classes
        axes.set_title(f"{names[dataset.labels[row]]} → {names[evaluation.predicted[row]]}", fontsize=10)
        _bare(axes)
    return figure


def confusion(dataset: Dataset, evaluation: Evaluation) -> Figure:
    """Confusion matrix; errors are coloured by their count."""
    counts, classes = evaluation.confusion_matrix, dataset.classes
    mistakes = counts.astype(float)
    np.fill_diagonal(mistakes, np.nan)
    size = max(3.6, 0.55 * len(classes) + 1.2)
    figure, axes = _figure(size, size, f"{evaluation.accuracy:.2%} of {evaluation.examples:,} right")
    most = max(1.0, float(np.nanmax(mistakes, initial=0)))
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=1.3 * most)
    for (row, column), count in np.ndenumerate(counts):
        dark = row != column and count > 0.8 * most
        colour = FIRST if row == column else "white" if dark else "black"
        axes.text(column, row, f"{count}" if count else "·", ha="center", va="center", color=colour, fontsize=9)
    turned = 45 if max(map(len, classes)) > 3 else 0
    axes.set_xticks(range(len(classes)), classes, rotation=turned, ha="right" if turned else "center")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="read as", ylabel="true class")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def first_layer(network: MLP, *, units: int = 64) -> Figure:
    """Weights of first-layer units, laid out as the pixels that they multiply.

    Shows the units with the largest weights; blue is negative, red positive. Raises ConfigError for networks whose
    first layer is not a dense one.
    """
    if not isinstance(first := network.layers[0], Dense):
        raise ConfigError("the plot first_layer needs a dense layer on the pixels", field="plots")
    weight = first.weight
    side = network.config.input.grid_size
    strongest = np.argsort(-np.abs(weight).sum(axis=0), kind="stable")[:units]
    columns = min(len(strongest), max(1, round(len(strongest) ** 0.5)))
    rows = -(-len(strongest) // columns)
    tiles = np.full((rows * columns, side, side), np.nan, np.float32)
    tiles[: len(strongest)] = weight[:, strongest].T.reshape(-1, side, side)
    figure, axes = _figure(0.62 * columns + 0.9, 0.62 * rows + 0.5, f"Weights of {len(strongest)} first-layer units")
    reach = float(np.nanquantile(np.abs(tiles), 0.995)) or 1.0
    shown = _mosaic(axes, tiles.reshape(rows, columns, side, side), cmap="RdBu_r", vmin=-reach, vmax=reach)
    axes.set_yticks([])
    figure.colorbar(shown, ax=axes, shrink=0.6, aspect=30)
    return figure


class Plot(NamedTuple):
    """A plot and the names of its arguments: dataset, history, evaluation, network."""

    function: Callable[..., Figure]
    needs: tuple[str, ...]


PLOTS: dict[str, Plot] = {
    "digits": Plot(digits, ("dataset",)),
    "variants": Plot(variants, ("dataset",)),
    "loss": Plot(loss_curve, ("history",)),
    "accuracy": Plot(accuracy_curves, ("history",)),
    "misread": Plot(misclassified, ("dataset", "evaluation")),
    "confusion": Plot(confusion, ("dataset", "evaluation")),
    "first_layer": Plot(first_layer, ("network",)),
}


def draw_all(
    folder: Path,
    names: Sequence[str] | None = None,
    *,
    dataset: Dataset | None = None,
    history: History | None = None,
    evaluation: Evaluation | None = None,
    network: MLP | None = None,
    formats: Sequence[str] = ("png", "svg"),
) -> list[Path]:
    """Save plots as files `<name>.<format>`: those in `names`, or all whose arguments are given.

    The output is reproducible byte for byte. Raises ConfigError for an unknown plot or a missing argument.
    """
    given = {"dataset": dataset, "history": history, "evaluation": evaluation, "network": network}
    missing = {name: [need for need in plot.needs if not given[need]] for name, plot in PLOTS.items()}
    chosen = [name for name in PLOTS if not missing[name]] if names is None else names
    if names is None and network and not isinstance(network.layers[0], Dense):
        chosen = [name for name in chosen if name != "first_layer"]
    for name in chosen:
        if name not in PLOTS:
            raise ConfigError(f"unknown picture {name!r}; choose of {', '.join(PLOTS)}", field="plots")
        if missing[name]:
            raise ConfigError(f"the picture {name} needs {' and '.join(missing[name])}", field="plots")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in chosen:
        plot = PLOTS[name]
        figure = plot.function(*(given[need] for need in plot.needs))
        for ending in formats:
            paths.append(folder / f"{name}.{ending}")
            save(figure, paths[-1])
    return paths


def save(figure: Figure, path: Path) -> None:
    """Save a figure in the format of the path's suffix, without a timestamp."""
    metadata = {"Date": None} if path.suffix == ".svg" else None
    with mpl.rc_context({"svg.hashsalt": "glyphserve"}):
        figure.savefig(path, dpi=DOTS_PER_INCH, metadata=metadata)


def _figure(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=12)
    return figure, axes


def _mosaic(axes: Axes, tiles: Pixels | Floats, **colours: Any) -> Any:
    """Draw tiles (rows, columns, side, side) as one image, which is much faster than many axes."""
    rows, columns, side, _ = tiles.shape
    picture = tiles.transpose(0, 2, 1, 3).reshape(rows * side, columns * side)
    colours = colours or {"cmap": "gray_r", "vmin": 0, "vmax": 255}
    shown = axes.imshow(picture, interpolation="nearest", **colours)
    for index in range(1, rows):
        axes.axhline(index * side - 0.5, color="white", linewidth=3)
    for index in range(1, columns):
        axes.axvline(index * side - 0.5, color="white", linewidth=3)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return shown


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#cbd5e1")


def _curves(axes: Axes, history: History, figure: str) -> None:
    """Draw training and validation by epoch; epochs without validation leave no gap."""
    epochs = [epoch.to_dict() if isinstance(epoch, Epoch) else epoch for epoch in history]
    for part, colour in (("train", FIRST), ("validation", SECOND)):
        points = [
            (epoch["number"] if "number" in epoch else epoch["epoch"], epoch[f"{part}_{figure}"])
            for epoch in epochs
            if epoch.get(f"{part}_{figure}") is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=3.5, linewidth=1.8, label=part)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color="#e2e8f0", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    if axes.lines:
        axes.legend(frameon=False)
