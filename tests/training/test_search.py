import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import recipes
from training.errors import ConfigError, DataError
from training.recipes.search import Trial, grid, rank_trials, read, sample_settings, search

RECIPE = recipes.get("starter").replace(epochs=1, layers=(784, 8, 10), classes=None)
SPACE: dict[str, Any] = {
    "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "batch_size": {"low": 16, "high": 256, "int": True, "log": True},
    "dropout": {"low": 0.0, "high": 0.5},
    "epochs": {"low": 1, "high": 3, "int": True},
    "optimizer": ["sgd", "adam"],
    "layers": [[784, 8, 10], [784, 16, 8, 10]],
}


def test_a_grid_combines_every_choice_with_every_other() -> None:
    trials = grid(RECIPE, {"optimizer": ["sgd", "adam"], "batch_size": [16, 32, 64]})
    assert trials[0] == {"optimizer": "sgd", "batch_size": 16}
    assert trials[1] == {"optimizer": "sgd", "batch_size": 32}
    assert len({json.dumps(trial) for trial in trials}) == len(trials) == 6


def test_the_same_space_and_seed_draw_the_same_and_another_seed_others() -> None:
    assert sample_settings(RECIPE, SPACE, 20, seed=1) == sample_settings(RECIPE, SPACE, 20, seed=1)
    assert sample_settings(RECIPE, SPACE, 20, seed=1)[:5] == sample_settings(RECIPE, SPACE, 5, seed=1)
    assert sample_settings(RECIPE, SPACE, 20, seed=1) != sample_settings(RECIPE, SPACE, 20, seed=2)


def test_draws_stay_in_their_ranges_and_reach_all_of_them() -> None:
    trials = sample_settings(RECIPE, SPACE, 400)
    rates = np.array([trial["learning_rate"] for trial in trials])
    assert rates.min() >= 1e-4
    assert rates.max() <= 1e-1
    assert np.mean(rates < 10**-2.5) == pytest.approx(0.5, abs=0.1)  # as many in each decade
    assert {trial["epochs"] for trial in trials} == {1, 2, 3}
    np.testing.assert_allclose(np.bincount([trial["epochs"] for trial in trials])[1:] / 400, 1 / 3, atol=0.08)
    assert all(isinstance(trial["batch_size"], int) and 16 <= trial["batch_size"] <= 256 for trial in trials)
    assert np.mean([trial["dropout"] for trial in trials]) == pytest.approx(0.25, abs=0.03)
    assert json.loads(json.dumps(trials)) == trials


def test_a_small_space_is_drawn_once_and_not_again() -> None:
    assert len(sample_settings(RECIPE, {"optimizer": ["sgd", "adam"]}, 10)) == 2


@pytest.mark.parametrize(
    ("space", "field"),
    [
        ({}, "space"), ([], "space"), ({"epoch": [1]}, "epoch"), ({"epochs": []}, "epochs"), ({"epochs": 3}, "epochs"),
        ({"epochs": [1, 0]}, "epochs"), ({"optimizer": "adam"}, "optimizer"), ({"layers": [[784, 10], []]}, "layers"),
        ({"l2": {"low": 1}}, "l2"), ({"l2": {"low": 2, "high": 1}}, "l2"), ({"l2": {"low": "a", "high": 1}}, "l2"),
        ({"l2": {"low": 0, "high": 1, "log": True}}, "l2"), ({"l2": {"low": 0, "high": 1, "step": 1}}, "l2"),
        ({"l2": {"low": 0, "high": float("inf")}}, "l2"), ({"epochs": {"low": 1.5, "high": 3, "int": True}}, "epochs"),
        ({"epochs": {"low": 1, "high": 3}}, "epochs"), ({"dropout": {"low": 2, "high": 3}}, "dropout"),
        ({"validation_share": [0.2, 0.0]}, "validation_share"),
    ],
)  # fmt: skip
def test_a_bad_space_is_refused_by_the_setting_before_anything_runs(space: Any, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sample_settings(RECIPE, space, 50)
    assert caught.value.field == field


def test_a_grid_refuses_ranges_and_too_many_trials() -> None:
    with pytest.raises(ConfigError, match="list of choices for l2, not a range"):
        grid(RECIPE, {"l2": {"low": 0, "high": 1}})
    with pytest.raises(ConfigError, match="the grid has 12,000 trials"):
        grid(RECIPE, {"seed": list(range(120)), "batch_size": list(range(1, 101))})
    with pytest.raises(ConfigError, match="trials must be"):
        sample_settings(RECIPE, SPACE, 0)


def test_results_come_one_by_one_and_a_search_resumes_where_it_stopped(tmp_path: Path) -> None:
    results = tmp_path / "new" / "results.jsonl"
    trials = grid(RECIPE, {"learning_rate": [0.001, 0.01], "seed": [0, 1]})
    running = search(RECIPE, trials, results)
    first = [next(running), next(running)]
    assert len(results.read_text().splitlines()) == 2
    lines = results.read_text()
    everything = list(search(RECIPE, trials, results))
    assert everything[:2] == first
    assert results.read_text().startswith(lines)
    assert [trial.settings for trial in everything] == trials
    again = results.read_text()
    assert list(search(RECIPE, trials, results)) == everything
    assert results.read_text() == again
    assert rank_trials(everything)[0].settings["learning_rate"] == 0.01


def test_trials_of_another_recipe_are_not_taken_for_ours(tmp_path: Path) -> None:
    trials = [{"learning_rate": 0.01}]
    (one,) = search(RECIPE, trials, tmp_path / "results.jsonl")
    (other,) = search(RECIPE.replace(layers=[784, 4, 10]), trials, tmp_path / "results.jsonl")
    assert one.key != other.key
    assert one.accuracy != other.accuracy


def test_a_trial_that_diverges_is_a_result_and_comes_last(tmp_path: Path) -> None:
    trials: list[dict[str, Any]] = [
        {"learning_rate": 1000.0, "optimizer": "sgd", "activation": "linear"},
        {"learning_rate": 0.01},
    ]
    diverged, good = search(RECIPE, trials, tmp_path / "results.jsonl")
    assert diverged.accuracy is None
    assert "diverged" in (diverged.failure or "")
    assert good.accuracy is not None
    assert rank_trials([diverged, good]) == [good, diverged]
    assert read(tmp_path / "results.jsonl") == [diverged, good]


def test_the_ranking_goes_by_accuracy_and_then_by_loss() -> None:
    def trial(accuracy: float | None, loss: float | None) -> Trial:
        return Trial("", {}, accuracy, loss, 1, 1.0)

    trials = [trial(0.9, 0.5), trial(None, None), trial(0.95, 0.9), trial(0.9, 0.4), trial(None, 0.2)]
    assert [(t.accuracy, t.loss) for t in rank_trials(trials)] == [
        (0.95, 0.9), (0.9, 0.4), (0.9, 0.5), (None, 0.2), (None, None),
    ]  # fmt: skip


def test_a_line_cut_off_by_a_crash_is_run_again(tmp_path: Path) -> None:
    results, trials = tmp_path / "results.jsonl", grid(RECIPE, {"seed": [0, 1]})
    everything = list(search(RECIPE, trials, results))
    whole = results.read_bytes()
    for lost in (1, 20, len(whole.splitlines()[1])):
        results.write_bytes(whole[:-lost])
        resumed = list(search(RECIPE, trials, results))
        assert [trial.accuracy for trial in resumed] == [trial.accuracy for trial in everything]
        assert len(read(results)) == 2


@pytest.mark.parametrize("line", ["hello\n", "hello", "[]\n", "{}\n", '{"key": 1, "surprise": 2}\n'])
def test_a_file_of_something_else_is_refused_and_left_alone(line: str, tmp_path: Path) -> None:
    results = tmp_path / "notes.txt"
    results.write_text(line)
    with pytest.raises(DataError, match=r"line 1 of .*notes\.txt is not the result of a trial"):
        list(search(RECIPE, [{}], results))
    assert results.read_text() == line
