"""Extra examples and warm starts: a second source is heard but does not drown the first; weights are gone on from."""

from pathlib import Path

import numpy as np
import pytest

from training import Dataset, Experiment, WeightsError, evaluate, load, recipes, save
from training.data import TrainTest, load_dataset, save_image_folder
from training.data.extra_data import MAX_REPEATS, oversample, split_extra
from training.errors import ConfigError, DataError
from training.recipes.experiment import load_splits

STARTER = load_dataset("starter").train
QUICK = recipes.get("starter").replace(epochs=2, layers=(784, 32, 10))


def odd_sevens(count: int, start: int = 0) -> Dataset:
    """Sevens upside down."""
    rows = np.flatnonzero(STARTER.labels == 7)[start : start + count]
    return Dataset("odd", np.ascontiguousarray(STARTER.images[rows, ::-1]), STARTER.labels[rows])


def pictures(dataset: Dataset | None) -> set[bytes]:
    assert dataset is not None
    return {image.tobytes() for image in dataset.images}


def test_what_is_held_out_once_is_held_out_again_when_more_has_come() -> None:
    few, many = (split_extra(TrainTest(odd_sevens(count)), STARTER.classes) for count in (60, 200))
    assert pictures(few.held_out) < pictures(many.held_out)
    assert pictures(few.train) < pictures(many.train)
    assert not pictures(many.train) & pictures(many.held_out)
    assert len(many.train) + len(many.held_out or ()) == 200
    assert 0.1 < len(many.held_out or ()) / 200 < 0.3


@pytest.mark.parametrize("count", [1, 4])
def test_of_a_few_examples_all_are_learned(count: int) -> None:
    extra = split_extra(TrainTest(odd_sevens(count)), STARTER.classes)
    assert (len(extra.train), extra.held_out) == (count, None)


def test_of_five_examples_one_is_held_out_unless_each_is_alone_in_its_class() -> None:
    for start in range(0, 60, 6):
        few = split_extra(TrainTest(odd_sevens(6, start)), STARTER.classes)
        assert len(few.held_out or ()) >= 1
        assert len(few.train) + len(few.held_out or ()) == 6
    rows = [int(np.flatnonzero(STARTER.labels == label)[0]) for label in range(10)]
    pairs = STARTER.select(np.array(rows + [row + 1 for row in rows]))
    assert len(split_extra(TrainTest(pairs), STARTER.classes).held_out or ()) >= 1
    alone = split_extra(TrainTest(STARTER.select(np.array(rows))), STARTER.classes)
    assert (len(alone.train), alone.held_out) == (10, None)


def test_a_source_with_test_examples_of_its_own_holds_those_out() -> None:
    extra = split_extra(TrainTest(odd_sevens(30), odd_sevens(10, start=30)), STARTER.classes)
    assert (len(extra.train), len(extra.held_out or ())) == (30, 10)


def test_examples_are_repeated_to_their_share_and_one_alone_does_not_drown_the_rest() -> None:
    some = oversample(odd_sevens(40), 54_000, 0.05, seed=1, deform=True)
    assert len(some) / (54_000 + len(some)) == pytest.approx(0.05, abs=0.001)
    assert len(oversample(odd_sevens(1), 54_000, 0.05, seed=1, deform=True)) == MAX_REPEATS
    assert len(oversample(odd_sevens(400), 1000, 0.05, seed=1, deform=True)) == 400
    assert len(oversample(odd_sevens(0), 1000, 0.05, seed=1, deform=True)) == 0


def test_each_repetition_is_deformed_its_own_way_and_the_first_is_not() -> None:
    one = oversample(odd_sevens(2), 100, 0.5, seed=1, deform=True)
    np.testing.assert_array_equal(one.images[:2], odd_sevens(2).images)
    assert len(pictures(one)) == len(one) == 100
    np.testing.assert_array_equal(one.images, oversample(odd_sevens(2), 100, 0.5, seed=1, deform=True).images)
    assert len(pictures(oversample(odd_sevens(2), 100, 0.5, seed=1, deform=False))) == 2


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    save_image_folder(odd_sevens(3), tmp_path / "folder")  # has the one class 7
    splits = load_splits(QUICK.replace(extra_data=str(tmp_path / "folder")))
    assert splits.extra is not None
    assert splits.extra.train.labels.tolist() == [7, 7, 7]
    assert splits.train.classes == STARTER.classes
    other = Dataset("letters", odd_sevens(3).images, np.array([0, 1, 1]), ("7", "seven"))
    with pytest.raises(DataError, match="examples of seven"):
        split_extra(TrainTest(other), STARTER.classes)
    two = load_splits(QUICK.replace(extra_data=str(tmp_path / "folder"), classes=[1, 2], layers=[784, 2]))
    assert two.extra is not None
    assert len(two.extra.train) == 0


def test_the_recipes_own_examples_stay_divided_as_they_were(tmp_path: Path) -> None:
    save_image_folder(odd_sevens(30), tmp_path / "folder")
    without, with_extra = load_splits(QUICK), load_splits(QUICK.replace(extra_data=str(tmp_path / "folder")))
    np.testing.assert_array_equal(without.final_test.images, with_extra.final_test.images)
    np.testing.assert_array_equal(without.train.images, with_extra.train.images[: len(without.train)])
    assert not pictures(with_extra.extra.held_out if with_extra.extra else None) & pictures(with_extra.train)


@pytest.mark.slow
def test_an_odd_seven_is_learned_from_a_few_examples_by_going_on_from_what_is_known(tmp_path: Path) -> None:
    first = Experiment(recipes.get("starter").replace(epochs=6))
    list(first.epochs())
    first.save(tmp_path / "first")
    save_image_folder(odd_sevens(50), tmp_path / "odd")
    unseen = odd_sevens(400, start=100)
    recipe = recipes.get("corrections").replace(
        data="starter", start_from=str(tmp_path / "first" / "weights.npz"), extra_data=str(tmp_path / "odd")
    )
    second = Experiment(recipe)
    before = evaluate(second.network, unseen).accuracy
    known = first.evaluation().accuracy
    list(second.epochs())
    manifest = second.save(tmp_path / "second")
    learned = load(tmp_path / "second" / "weights.npz")
    assert before < 0.3
    assert evaluate(learned, unseen).accuracy > 0.9
    assert evaluate(learned, first.splits.final_test).accuracy > known - 0.01
    assert manifest["settings"]["layers"] == [784, 128, 64, 10]
    told = manifest["data"]["extra"]
    assert (told["name"], told["examples"] + told["held_out_examples"]) == ("odd", 50)
    assert manifest["metrics"]["extra_examples"] == told["held_out_examples"]
    assert second.splits.extra is not None
    assert second.splits.extra.held_out is not None
    assert manifest["metrics"]["extra_accuracy"] == evaluate(learned, second.splits.extra.held_out).accuracy


def test_going_on_from_weights_keeps_what_silent_inputs_said(tmp_path: Path) -> None:
    network = Experiment(QUICK).network
    network.parameters += 1
    save(network, tmp_path / "w.npz")
    experiment = Experiment(QUICK.replace(start_from=str(tmp_path / "w.npz"), weight_decay=0.0, epochs=1))
    list(experiment.epochs())
    silent = np.flatnonzero(~experiment.splits.train.images.reshape(-1, 784).any(axis=0))
    assert len(silent)
    np.testing.assert_array_equal(
        experiment.network.state_dict()["0.weight"][silent], network.state_dict()["0.weight"][silent]
    )


def test_the_same_extras_make_the_same_file(tmp_path: Path) -> None:
    save_image_folder(odd_sevens(20), tmp_path / "odd")
    for name in ("one", "two"):
        experiment = Experiment(QUICK.replace(extra_data=str(tmp_path / "odd")))
        list(experiment.epochs())
        experiment.save(tmp_path / name)
    assert (tmp_path / "one" / "weights.npz").read_bytes() == (tmp_path / "two" / "weights.npz").read_bytes()


def test_bad_extras_and_starts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data set"):
        Experiment(QUICK.replace(extra_data=str(tmp_path / "nowhere")))
    with pytest.raises(WeightsError, match="cannot be read"):
        Experiment(QUICK.replace(start_from=str(tmp_path / "nowhere.npz")))
    (tmp_path / "x.npz").write_text("no weights")
    with pytest.raises(WeightsError):
        Experiment(QUICK.replace(start_from=str(tmp_path / "x.npz")))
    wrong: tuple[tuple[str, object], ...] = (
        ("extra_share", 1), ("extra_share", 0), ("extra_data", ""), ("extra_data", 3), ("start_from", []),
    )  # fmt: skip
    for name, value in wrong:
        with pytest.raises(ConfigError) as caught:
            QUICK.replace(**{name: value})
        assert caught.value.field == name
    experiment = Experiment(QUICK.replace(layers=[784, 8, 10]))
    experiment.save(tmp_path / "ten")
    with pytest.raises(ConfigError, match="2 classes, but the last of layers is 10"):
        Experiment(QUICK.replace(start_from=str(tmp_path / "ten" / "weights.npz"), classes=[0, 1], layers=[784, 2]))
