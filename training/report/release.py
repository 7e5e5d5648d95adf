"""Releasing a model: calibrate a finished run, store its weights, and write its model card."""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from training.atomic import write_atomically
from training.errors import ConfigError
from training.evaluation.calibration import fit_temperature, fold_temperature, threshold_for_risk
from training.evaluation.evaluate import evaluate
from training.export.checkpoint import load_checkpoint
from training.export.npz import load, to_bytes
from training.fit.history import Epoch
from training.nn.mlp import MLP
from training.recipes.config import Recipe
from training.report.markdown import render_card
from training.report.measure import ReleasedModel, measure, open_released_model
from training.report.seed_comparison import compare_seeds
from training.vision.glyph import preprocessing_id

RISK = 0.001
"""Default of the highest error rate among predictions that are not rejected."""


def release(
    run: Path, folder: Path, *, float16: bool = False, other_seed_runs: Sequence[Path] = (), target_risk: float = RISK
) -> ReleasedModel:
    """Calibrate the network of a run on its validation examples, and store it with its manifest.

    `other_seed_runs` are runs of the same recipe with other seeds, whose results are added to the manifest. The
    manifest's rejection threshold is chosen such that the error rate above it is at most `target_risk`. Raises
    ConfigError for a run without validation examples or without softmax, and what `compare_seeds` raises.
    """
    model = open_released_model(run)
    held_out = model.splits.validation
    if held_out is None:
        raise ConfigError("calibrating needs validation examples", field="validation_share")
    seeds = {"seeds": compare_seeds(model.manifest, other_seed_runs)} if other_seed_runs else {}
    network, features = model.network, model.network.config.input.to_features(held_out.images)
    temperature = fit_temperature(network.forward(features)[0], held_out.labels)
    fold_temperature(network, temperature)
    content = to_bytes(network, np.float16 if float16 else np.float32)
    stored = load(content)
    manifest = (
        model.manifest
        | seeds
        | {
            "calibration": {
                "temperature": round(temperature, 4),
                "folded": True,
                "examples": len(held_out),
                "stored_as": "float16" if float16 else "float32",
            },
            "abstain": {
                "below": threshold_for_risk(stored.predict(features), held_out.labels, target_risk),
                "risk": target_risk,
            },
            "temperature": 1.0,
            "preprocessing": preprocessing_id(network.config.input),
            "weights_sha256": sha256(content).hexdigest(),
        }
    )
    judged = evaluate(stored, model.test)
    manifest["metrics"] = model.manifest["metrics"] | {
        "training_seconds": round(sum(epoch.seconds for epoch in history_of(run, model.network)), 1),
        "test_accuracy": judged.accuracy,
        "calibration_error": judged.calibration_error,
    }
    write_atomically(folder / "weights.npz", content)
    write_atomically(folder / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())
    return ReleasedModel(folder, manifest, stored, model.splits)


def history_of(run: Path, network: MLP) -> list[Epoch]:
    """Return the history of a run from its checkpoint; empty without one."""
    checkpoint = run / "checkpoint.npz"
    if not checkpoint.exists():
        return []
    manifest = json.loads((run / "manifest.json").read_bytes())
    config = Recipe(manifest["recipe"], "").replace(**manifest["settings"]).fit
    return load_checkpoint(checkpoint, MLP(network.config), config).history


def write_card(model: ReleasedModel, history: list[Epoch] | None = None) -> dict[str, Any]:
    """Measure a model, write its card and plots into its folder, and return the measurements."""
    from training.report.card_plots import draw_card

    figures = measure(model)
    pictures = draw_card(model, figures, history)
    name, version = model.folder.resolve().parts[-2:]
    write_atomically(model.folder / "card.md", render_card(name, version, model.manifest, figures, pictures).encode())
    return figures
