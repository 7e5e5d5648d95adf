import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training import Epoch, Evaluation, Experiment, evaluate, recipes
from training.data import Dataset
from training.errors import ConfigError, DataError

pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install glyphserve[plots]")

from training.report import plots


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    experiment = Experiment(recipes.get("starter").replace(epochs=3, layers=(784, 16, 10), validation_every=2))
    list(experiment.epochs())
    return experiment


@pytest.fixture(scope="module")
def evaluation(experiment: Experiment) -> Evaluation:
    return experiment.evaluation()


@pytest.mark.slow
def test_everything_is_drawn_from_everything_as_png_and_svg(
    experiment: Experiment, evaluation: Evaluation, tmp_path: Path
) -> None:
    paths = plots.draw_all(
        tmp_path / "new",
        dataset=experiment.splits.final_test,
        history=experiment.run.history,
        evaluation=evaluation,
        network=experiment.network,
    )
    assert {path.name for path in paths} == {f"{name}.{end}" for name in plots.PLOTS for end in ("png", "svg")}
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert np.asarray(image.convert("L")).std() > 5  # something is on it
        else:
            assert path.read_text().rstrip().endswith("</svg>")


def test_only_what_can_be_drawn_is_drawn(experiment: Experiment, tmp_path: Path) -> None:
    drawn = plots.draw_all(tmp_path, network=experiment.network, formats=["png"])
    assert [path.name for path in drawn] == ["first_layer.png"]
    assert plots.draw_all(tmp_path, history=[]) == []


def test_a_picture_that_is_unknown_or_misses_something_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown picture 'lose'; choose of digits"):
        plots.draw_all(tmp_path, ["lose"])
    with pytest.raises(ConfigError, match="misread needs dataset and evaluation"):
        plots.draw_all(tmp_path, ["misread"])
    assert not list(tmp_path.iterdir())


def test_the_same_things_make_the_same_bytes(experiment: Experiment, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        plots.draw_all(tmp_path / folder, ["loss"], history=experiment.run.history)
    for ending in ("png", "svg"):
        one, two = ((tmp_path / folder / f"loss.{ending}").read_bytes() for folder in ("one", "two"))
        assert one == two


def test_epochs_and_the_lines_of_a_report_draw_the_same_curves(experiment: Experiment) -> None:
    """`fit --progress jsonl` calls an epoch's number `epoch`."""
    history = experiment.run.history
    lines = [{"epoch": epoch.number, **epoch.to_dict()} for epoch in history]
    for line in lines:
        del line["number"]
    for draw in (plots.loss_curve, plots.accuracy_curves):
        one, other = (draw(given).axes[0].get_lines() for given in (history, lines))
        assert [line.get_label() for line in one] == ["train", "validation"]
        for curve, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(np.asarray(curve.get_xydata()), np.asarray(same.get_xydata()))
        assert np.asarray(one[1].get_xdata()).tolist() == [2, 3]  # the epochs that were validated


def test_regression_has_a_loss_and_no_accuracy() -> None:
    from training.fit.history import LossAndAccuracy

    epoch = Epoch(1, 1, 10, LossAndAccuracy(0.5, None), None, 0.1, 0.1, 1.0, 100.0)
    assert len(plots.loss_curve([epoch]).axes[0].get_lines()) == 1
    assert len(plots.accuracy_curves([epoch]).axes[0].get_lines()) == 0


def test_misread_pictures_carry_what_they_are_and_what_they_were_taken_for(
    experiment: Experiment, evaluation: Evaluation
) -> None:
    dataset = experiment.splits.final_test
    figure = plots.misclassified(dataset, evaluation)
    assert len(figure.axes) == 25
    first = evaluation.misclassified[0]
    assert figure.axes[0].get_title() == f"{dataset.labels[first]} → {evaluation.predicted[first]}"


def test_a_network_without_mistakes_has_an_empty_picture_of_them(experiment: Experiment) -> None:
    held_out = experiment.splits.final_test
    right = held_out.select(np.flatnonzero(evaluate(experiment.network, held_out).predicted == held_out.labels)[:20])
    perfect = evaluate(experiment.network, right)
    assert not plots.misclassified(right, perfect).axes
    plots.confusion(right, perfect).savefig(io.BytesIO(), format="png")


def test_classes_with_few_examples_or_none_are_drawn_as_far_as_they_go(experiment: Experiment) -> None:
    few = experiment.splits.train.select(np.arange(4))
    plots.digits(few).savefig(io.BytesIO(), format="png")
    assert plots.variants(few, label=int(few.labels[0])).axes[0].get_title().endswith(f"variants of {few.labels[0]}")
    missing = next(label for label in range(10) if label not in few.labels)
    with pytest.raises(DataError, match=f"no examples of class {missing}"):
        plots.variants(few, label=missing)


def test_long_names_of_classes_are_turned(experiment: Experiment, evaluation: Evaluation) -> None:
    held_out = experiment.splits.final_test
    named = Dataset("named", held_out.images, held_out.labels, tuple(f"class number {n}" for n in range(10)))
    axes = plots.confusion(named, evaluation).axes[0]
    assert axes.get_xticklabels()[0].get_rotation() == 45


def test_training_does_not_import_matplotlib_and_plots_leave_pyplot_alone() -> None:
    code = "import sys, training; assert 'matplotlib' not in sys.modules; import training.report.plots; "
    code += "assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
