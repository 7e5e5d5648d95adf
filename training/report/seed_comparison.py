"""Comparison of runs of one recipe with different seeds, and the choice of the one to release."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.errors import ConfigError


def compare_seeds(manifest: dict[str, Any], others: Sequence[Path]) -> list[dict[str, Any]]:
    """Return seed and metrics of a run and of other runs of its recipe, sorted by seed.

    `test_accuracy` is None without test examples.

    Raises ConfigError for a folder without a finished run, a run with other settings, a duplicate seed, and if another
    run is better on the validation examples and so should be released. The test examples play no role in the choice.
    """
    best = _row(manifest)
    rows = [best]
    for folder in others:
        try:
            other = json.loads((folder / "manifest.json").read_bytes())
            row = _row(other)
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{folder} is no folder of a finished run: {error}", field="other") from error
        if _without_seed(other) != _without_seed(manifest):
            raise ConfigError(f"{folder} was made by other settings", field="other")
        if any(row["seed"] == known["seed"] for known in rows):
            raise ConfigError(f"{folder} has seed {row['seed']}, as another has", field="other")
        if _rank(row) > _rank(best):
            raise ConfigError(
                f"{folder} is better on the held-out examples "
                f"({row['validation_accuracy']:.2%} of them against {best['validation_accuracy']:.2%}): release that",
                field="other",
            )
        rows.append(row)
    return sorted(rows, key=lambda row: int(row["seed"]))


def _row(manifest: dict[str, Any]) -> dict[str, Any]:
    metrics = manifest["metrics"]
    judged = {figure: metrics[figure] for figure in ("validation_accuracy", "validation_loss")}
    return {"seed": manifest["seed"]} | judged | {"test_accuracy": metrics.get("test_accuracy")}


def _without_seed(manifest: dict[str, Any]) -> dict[str, Any]:
    settings = {name: value for name, value in manifest["settings"].items() if name != "seed"}
    return settings | {"data": manifest["data"]["fingerprint"]}


def _rank(row: dict[str, Any]) -> tuple[float, float]:
    return row["validation_accuracy"], -row["validation_loss"]
