"""Distillation: the loss by its laws, teachers by what they must be, and runs that have them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import ConfigError, Experiment, TrainingState, evaluate, fit, load, recipes, save, train
from training.data import load_dataset
from training.evaluation.gradcheck import relative_error
from training.fit.config import FitConfig
from training.nn.activations import softmax
from training.nn.config import MLPConfig
from training.nn.losses import LOSSES, Loss
from training.nn.mlp import MLP
from training.recipes.distillation import distillation_loss, make_distillation
from training.recipes.model_zoo import find_release, models_dir
from training.types import Floats, Labels

PLAIN = LOSSES["cross_entropy"]
QUICK = recipes.get("starter").replace(epochs=3, layers=(784, 32, 10), augment="shift")


@pytest.fixture
def batch(rng: np.random.Generator) -> tuple[Floats, Labels, Floats]:
    return rng.normal(size=(12, 5)), rng.integers(0, 3, 12), rng.dirichlet(np.ones(3), 12)


def test_the_gradient_is_the_derivative_also_with_weights_and_at_any_temperature(
    batch: tuple[Floats, Labels, Floats], rng: np.random.Generator
) -> None:
    x, labels, answers = batch
    for share, temperature in ((0.0, 1.0), (0.3, 1.0), (0.9, 4.0), (1.0, 0.5)):
        loss = distillation_loss(PLAIN, answers, share, temperature)
        assert relative_error(MLP(MLPConfig((5, 7, 3), activation="tanh"), 1, np.float64), loss, x, labels) < 1e-7
    logits, weights, step = rng.normal(size=(12, 3)), rng.uniform(0.5, 2, 12), 1e-6
    gradient = loss.function(logits, labels, weights)[1]
    for place in ((0, 0), (5, 2), (11, 1)):
        nudge = np.zeros_like(logits)
        nudge[place] = step
        sides = [loss.function(logits + sign * nudge, labels, weights)[0] for sign in (1, -1)]
        assert gradient[place] == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-5, abs=1e-9)


def test_a_teacher_that_answers_with_the_labels_changes_nothing(
    batch: tuple[Floats, Labels, Floats], rng: np.random.Generator
) -> None:
    _, labels, _ = batch
    logits = rng.normal(size=(12, 3))
    plain = PLAIN.function(logits, labels, None)
    for share in (0.0, 0.4, 1.0):
        value, gradient = distillation_loss(PLAIN, np.eye(3)[labels], share, 1.0).function(logits, labels, None)
        assert value == pytest.approx(plain[0])
        np.testing.assert_allclose(gradient, plain[1])


def test_who_answers_as_the_teachers_do_has_nothing_to_learn_from_them(rng: np.random.Generator) -> None:
    logits, labels = rng.normal(size=(12, 3)), rng.integers(0, 3, 12)
    for temperature in (0.5, 1.0, 3.0):
        answers = softmax(logits / temperature)[0]
        gradient = distillation_loss(PLAIN, answers, 1.0, temperature).function(logits, labels, None)[1]
        np.testing.assert_allclose(gradient, 0, atol=1e-15)


def test_at_a_high_temperature_it_is_the_logits_that_are_matched(rng: np.random.Generator) -> None:
    """Equation 4 of the paper: the gradient becomes the difference of the logits, each about its mean, over k·n."""
    mine, theirs = rng.normal(size=(2, 12, 3))
    answers = softmax(theirs / 1e4)[0]
    gradient = distillation_loss(PLAIN, answers, 1.0, 1e4).function(mine, np.zeros(12, np.int64), None)[1]
    apart = (mine - mine.mean(axis=1, keepdims=True)) - (theirs - theirs.mean(axis=1, keepdims=True))
    np.testing.assert_allclose(gradient, apart / 3 / 12, atol=1e-5)


def test_several_teachers_teach_their_mean_answer_to_the_very_batch(rng: np.random.Generator) -> None:
    networks = [MLP(MLPConfig((5, 4, 3)), seed, np.float64) for seed in (1, 2)]
    x, labels, logits = rng.normal(size=(6, 5)), rng.integers(0, 3, 6), rng.normal(size=(6, 3))
    mean = np.mean([softmax(network.forward(x)[0] / 2)[0] for network in networks], axis=0)
    taught = make_distillation(networks, 0.7, 2.0)(PLAIN, x).function(logits, labels, None)
    expected = distillation_loss(PLAIN, mean, 0.7, 2.0).function(logits, labels, None)
    assert taught[0] == expected[0]
    np.testing.assert_array_equal(taught[1], expected[1])


@pytest.mark.slow
def test_a_share_of_nothing_is_plain_training_to_the_bit(tmp_path: Path) -> None:
    plain = Experiment(QUICK)
    list(plain.epochs())
    save(MLP(MLPConfig((784, 8, 10)), 3), tmp_path / "odd.npz")
    unheard = Experiment(QUICK.replace(teachers=str(tmp_path / "odd.npz"), teacher_share=0))
    list(unheard.epochs())
    assert unheard.network.parameters.tobytes() == plain.network.parameters.tobytes()
    assert [epoch.train for epoch in unheard.run.history] == [epoch.train for epoch in plain.run.history]


@pytest.mark.slow
def test_a_resumed_run_with_a_teacher_ends_with_the_bytes_of_one_that_never_stopped(tmp_path: Path) -> None:
    taught = QUICK.replace(teachers="fast", teacher_share=0.8, teacher_temperature=2, dropout=0.1, epochs=2)
    whole, first, second = (Experiment(taught) for _ in range(3))
    list(whole.epochs())
    next(first.epochs())
    first.checkpoint(tmp_path / "run.npz")
    second.resume(tmp_path / "run.npz")
    list(second.epochs())
    assert second.network.parameters.tobytes() == whole.network.parameters.tobytes()
    told = whole.save(tmp_path / "taught")["data"]["teachers"]
    release = find_release("fast")
    assert release is not None
    manifest = json.loads((release / "manifest.json").read_text())
    assert told == [
        {
            "name": f"fast/{release.name}",
            "weights_sha256": manifest["weights_sha256"],
            "fingerprint": manifest["data"]["fingerprint"],
        }
    ]


def test_a_small_network_without_labels_learns_from_a_teacher_alone(rng: np.random.Generator) -> None:
    """It comes to read what the teacher reads, although every label that it is given is wrong."""
    release = find_release("fast")
    assert release is not None
    teacher, digits = load(release / "weights.npz"), load_dataset("starter").train
    x = teacher.config.input.to_features(digits.images)
    network = MLP(MLPConfig((784, 32, 10)), 0)
    config = FitConfig(epochs=6, learning_rate=0.005)
    fit(
        network,
        x,
        (digits.labels + rng.integers(1, 10, len(x))) % 10,
        config,
        loss_transform=make_distillation([teacher], 1.0, 2.0),
    )
    assert evaluate(network, digits).accuracy > 0.95


def test_silent_inputs_stay_for_a_teacher_who_sees_whole_pictures(rng: np.random.Generator) -> None:
    x = np.zeros((60, 64), np.float32)
    x[:, 20:30] = rng.normal(size=(60, 10))
    widths: list[int] = []

    def teach(loss: Loss, seen: Floats) -> Loss:
        widths.append(seen.shape[1])
        return loss

    config = FitConfig(epochs=1)
    list(
        train(
            TrainingState.start(MLP(MLPConfig((64, 8, 3)), 0), config),
            (x, rng.integers(0, 3, 60)),
            config,
            loss_transform=teach,
        )
    )
    assert widths == [64]


def test_what_cannot_teach_is_refused_by_field(tmp_path: Path) -> None:
    release = find_release("fast")
    assert release is not None
    other = tmp_path / "other" / "weights.npz"
    shutil.copytree(release, other.parent)
    manifest = json.loads((release / "manifest.json").read_text())
    (other.parent / "manifest.json").write_text(json.dumps(manifest | {"labels": list("abcdefghij")}))
    save(MLP(MLPConfig((784, 8, 7)), 0), tmp_path / "seven.npz")
    broken = tmp_path / "broken" / "weights.npz"
    save(MLP(MLPConfig((784, 8, 10)), 0), broken)
    broken.with_name("manifest.json").write_text("{")
    small: dict[str, Any] = {"layers": (400, 10), "input": {"side": 20}, "augment": "none"}
    for teacher, changes, says in (
        ("nobody", {}, "there is no teacher 'nobody'"),
        ("accurate/999", {}, "there is no teacher"),
        (str(tmp_path / "nowhere.npz"), {}, "there is no teacher"),
        (str(other), {}, "must know 0, 1, 2"),
        (str(tmp_path / "seven.npz"), {}, "must know 0, 1, 2"),
        (str(broken), {}, "is no manifest"),
        ("fast", {"classes": [0, 1], "layers": (784, 2)}, "must know 0, 1, and no others"),
        ("fast", small, "inputs of the form"),
    ):
        with pytest.raises(ConfigError, match=says) as caught:
            Experiment(QUICK.replace(teachers=teacher, **changes))
        assert caught.value.field == "teachers"


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"teachers": 3}, "teachers"), ({"teachers": ["fast", ""]}, "teachers"),
        ({"teacher_share": 2}, "teacher_share"),
        ({"teacher_temperature": 0}, "teacher_temperature"), ({"teacher_share": True}, "teacher_share"),
        ({"teachers": ["fast"], "loss": "quadratic"}, "teachers"),
    ],
)  # fmt: skip
def test_impossible_settings_of_teachers_are_refused_by_name(settings: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        QUICK.replace(**settings)
    assert caught.value.field == field


def test_other_examples_are_learned_without_the_teachers_of_a_recipe() -> None:
    taught = QUICK.replace(teachers=["accurate", "fast/1"])
    assert taught.data.teachers == ("accurate", "fast/1")
    assert taught.replace(epochs=1, data="starter").data.teachers == ("accurate", "fast/1")
    assert taught.replace(data="fashion").data.teachers == ()
    assert taught.replace(classes=[1, 2]).data.teachers == ()
    assert taught.replace(data="fashion", teachers="fast").data.teachers == ("fast",)


def test_a_release_is_found_by_name_and_its_newest_by_the_models_name() -> None:
    numbers = [int(folder.name) for folder in (models_dir() / "mnist").iterdir() if folder.name.isdigit()]
    newest, oldest = find_release("mnist"), find_release(f"mnist/{min(numbers)}")
    assert newest is not None
    assert oldest is not None
    assert (newest.name, oldest.name) == (str(max(numbers)), str(min(numbers)))
    for said in ("nobody", "mnist/0", "../models/mnist", "mnist/1/weights.npz", "mnist/", "/etc", ""):
        assert find_release(said) is None
