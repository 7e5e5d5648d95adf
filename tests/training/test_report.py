"""From a run to a released model and its card, as real processes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import evaluate, load
from training.data import load_dataset
from training.errors import ConfigError
from training.export.npz import write_npz
from training.report.corruptions import CORRUPTIONS
from training.report.measure import open_released_model
from training.report.seed_comparison import compare_seeds
from training.vision.input_spec import InputSpec

DIGITS = load_dataset("starter").train


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "training", *arguments], capture_output=True, text=True, timeout=600, check=False
    )


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install glyphserve[plots]")
    folder = tmp_path_factory.mktemp("cards")
    with (folder / "some.npz").open("wb") as file:
        write_npz(file, {"images": DIGITS.images[::10], "labels": DIGITS.labels[::10]})
    done = run(
        "fit", "--data", str(folder / "some.npz"), "--resume", "--progress", "none", "--out", str(folder / "run"),
        "--set", "epochs=30", "--set", "layers=784,32,10", "--set", "augment=handwriting",
        "--set", "teachers=fast", "--set", "teacher_share=0.25",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.mark.slow
def test_a_run_becomes_a_calibrated_model_with_a_card_that_evaluate_repeats(fitted: Path) -> None:
    folder = fitted.parent / "odd" / "1"
    worse = another(fitted, fitted.parent / "worse", validation_accuracy=0.125)
    released = run("release", str(fitted), str(folder), "--half", "--other", str(worse), "--risk", "0.2")
    assert released.returncode == 0, released.stderr
    manifest, network = json.loads((folder / "manifest.json").read_text()), load(folder / "weights.npz")
    temperature = manifest["calibration"]["temperature"]
    before, x = load(fitted / "weights.npz"), InputSpec().to_features(DIGITS.images[:50])
    np.testing.assert_allclose(network.forward(x)[0], before.forward(x)[0] / temperature, rtol=0.02, atol=0.05)
    assert (folder / "weights.npz").stat().st_size < 0.6 * (fitted / "weights.npz").stat().st_size
    judged = evaluate(network, open_released_model(folder).test)
    assert manifest["metrics"]["test_accuracy"] == judged.accuracy
    text = (folder / "card.md").read_text()
    assert text.startswith("# odd, version 1\n")
    assert "2 seeds were trained" in text
    assert "| 1 | 12.50% |" in text
    assert f"taught by {manifest['data']['teachers'][0]['name']}, whose answers" in text
    assert "had a share of 0.25 in the loss" in text
    for picture in ("accuracy", "confusion", "first_layer", "loss", "misread", "robustness"):
        assert (folder / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
        assert f"]({picture}.png)" in text

    figures = json.loads(run("evaluate", str(folder), "--json").stdout)
    assert figures["test"]["wrong"] == len(judged.misclassified)
    assert f"{figures['test']['wrong']} of {judged.examples} test images are misread" in text
    assert figures["abstaining"]["threshold"] == manifest["abstain"]["below"]
    assert manifest["abstain"]["risk"] == 0.2
    assert figures["bytes"] == (folder / "weights.npz").stat().st_size
    typed = next(row for row in figures["foreign"] if row["set"].startswith("typed"))
    assert f"| {typed['set']} | {typed['examples']} | {typed['accuracy']:.2%} |" in text
    curves = (folder / "accuracy.png").read_bytes()
    assert run("card", str(folder)).returncode == 0
    assert (folder / "accuracy.png").read_bytes() == curves
    assert "](accuracy.png)" in (folder / "card.md").read_text()


@pytest.mark.slow
def test_what_is_no_model_is_refused(fitted: Path, tmp_path: Path) -> None:
    for arguments in (("evaluate", str(tmp_path)), ("card", str(tmp_path)), ("release", str(tmp_path), "there")):
        refused = run(*arguments)
        assert refused.returncode == 2
        assert "no folder of a model" in refused.stderr
    manifest = json.loads((fitted / "manifest.json").read_text())
    manifest["settings"]["validation_share"] = 0.0
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "weights.npz").write_bytes((fitted / "weights.npz").read_bytes())
    refused = run("release", str(tmp_path), str(tmp_path / "model"))
    assert refused.returncode == 2
    assert "needs validation examples" in refused.stderr


def another(fitted: Path, folder: Path, *, seed: int = 1, **changes: Any) -> Path:
    """Write a manifest as if the run had been made with another seed, and had other figures or settings."""
    manifest = json.loads((fitted / "manifest.json").read_text())
    for name, value in changes.items():
        manifest["settings" if name in manifest["settings"] else "metrics"][name] = value
    manifest["settings"]["seed"] = manifest["seed"] = seed
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.slow
def test_only_the_best_seed_on_held_out_examples_may_be_released(fitted: Path, tmp_path: Path) -> None:
    mine = json.loads((fitted / "manifest.json").read_text())
    accuracy, loss = mine["metrics"]["validation_accuracy"], mine["metrics"]["validation_loss"]
    worse = another(fitted, tmp_path / "worse", seed=7, validation_accuracy=accuracy - 0.01, test_accuracy=1.0)
    surer = another(fitted, tmp_path / "surer", seed=2, validation_loss=loss - 0.01, test_accuracy=0.5)
    assert [row["seed"] for row in compare_seeds(mine, [worse])] == [0, 7]
    with pytest.raises(ConfigError, match="surer is better on the held-out examples"):
        compare_seeds(mine, [worse, surer])
    theirs = json.loads((surer / "manifest.json").read_text())
    rows = compare_seeds(theirs, [worse, fitted])
    assert [(row["seed"], row["test_accuracy"]) for row in rows] == [
        (0, None),  # a run without test examples
        (2, 0.5),
        (7, 1.0),
    ]


@pytest.mark.slow
def test_runs_that_cannot_be_compared_are_refused(fitted: Path, tmp_path: Path) -> None:
    shorter = another(fitted, tmp_path / "shorter", epochs=29)
    mine = json.loads((fitted / "manifest.json").read_text())
    for folder, complaint in ((shorter, "other settings"), (fitted, "has seed 0"), (tmp_path, "no folder")):
        with pytest.raises(ConfigError, match=complaint):
            compare_seeds(mine, [folder])


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_level_of_a_damage_changes_more_than_the_one_before(name: str) -> None:
    damage, before, images = CORRUPTIONS[name], 0.0, DIGITS.images[::25]
    for level in damage.levels:
        damaged = damage.function(images, level, np.random.default_rng(0))
        assert damaged.shape == images.shape
        assert damaged.dtype == np.uint8
        change = float(np.abs(damaged.astype(int) - images).mean())
        assert change > before
        before = change


def test_a_shift_moves_the_ink_that_far_and_a_turn_leaves_the_middle_where_it_is() -> None:
    image = np.zeros((40, 28, 28), np.uint8)
    image[:, 13:15, 13:15] = 255
    places = np.indices((28, 28)).reshape(2, -1)
    for name, level, expected in (("shift", 3, 3.0), ("turn", 30, 0.0)):
        damaged = CORRUPTIONS[name].function(image, level, np.random.default_rng(1)).reshape(40, -1).astype(float)
        centre = damaged @ places.T / damaged.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(np.hypot(*(centre - 13.5).T), expected, atol=0.05)
