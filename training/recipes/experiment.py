"""Run a recipe: load and split the data, train the network, save it with a manifest."""

import json
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from training.atomic import write_atomically
from training.data import Dataset, load_dataset, stratified_split
from training.data.dataset import Progress, TrainTest
from training.data.extra_data import ExtraData, oversample, split_extra
from training.deprecation import renamed
from training.errors import ConfigError, DataError
from training.evaluation.data_profile import profile
from training.evaluation.evaluate import Evaluation, evaluate
from training.export.checkpoint import load_checkpoint, save_checkpoint
from training.export.npz import load, to_bytes
from training.fit.history import Epoch, best_epoch
from training.fit.loop import TrainingState, train
from training.fit.steps import OnStep
from training.inputs.class_labels import check_same_labels
from training.nn.mlp import MLP
from training.recipes.config import Recipe
from training.recipes.distillation import load_teacher, make_distillation
from training.vision.glyph import preprocessing_id

MANIFEST_FORMAT = 1
_MAX_NAMED = 20
"""Number of skipped files that a manifest names; it counts all."""


@dataclass(frozen=True)
class Splits:
    """The data of a recipe, split by purpose."""

    train: Dataset
    validation: Dataset | None
    test: Dataset | None
    monitored: Dataset | None
    """The examples to evaluate after each epoch."""
    extra: ExtraData | None = None
    """Extra data, whose training examples are in `train`, oversampled."""

    @property
    def final_test(self) -> Dataset:
        """The examples for the final evaluation: test, else validation, else training examples."""
        return self.test or self.validation or self.train


def load_splits(recipe: Recipe, progress: Progress | None = None) -> Splits:
    """Load and split the data of a recipe; the same recipe always gives the same splits.

    Raises DataError if data is missing or damaged, ConfigError if its classes do not fit the network.
    """
    splits, config = _load_main(recipe, progress), recipe.data
    if config.extra_data is None:
        return splits
    source = load_dataset(config.extra_data, progress, skip_unreadable=config.skip_unreadable)
    main = splits.train
    extra = split_extra(source, main.classes, ignore_unknown_classes=config.classes is not None)
    deform = recipe.make_augment() is None  # otherwise augmentation deforms all images
    added = oversample(extra.train, len(main), config.extra_share, config.split_seed, deform=deform)
    return replace(splits, train=main.concat(added), extra=extra)


def _load_main(recipe: Recipe, progress: Progress | None) -> Splits:
    return split_source(load_dataset(recipe.data.data, progress, skip_unreadable=recipe.data.skip_unreadable), recipe)


def split_source(source: TrainTest, recipe: Recipe) -> Splits:
    """Split a data set as a recipe says.

    Raises DataError for fewer than two classes or too few examples to hold any out, ConfigError if the classes do not
    fit the network.
    """
    learned, test = source.train, source.test
    if recipe.data.classes:
        learned, test = learned.filter_classes(recipe.data.classes), test and test.filter_classes(recipe.data.classes)
    present = np.unique(learned.labels)
    if len(present) < 2:
        found = ", ".join(learned.classes[label] for label in present) or "none"
        raise DataError(f"{learned.name} has examples of {len(present)} class ({found}); at least two are needed")
    recipe = recipe.fitted(len(learned.classes))
    outputs = recipe.network.layers[-1]
    if len(learned.classes) != max(outputs, 2):
        raise ConfigError(
            f"{learned.name} has {len(learned.classes)} classes, but the last of layers is {outputs}; "
            f"set it to {len(learned.classes)}, or leave layers out",
            field="layers",
        )
    rng = np.random.default_rng(recipe.data.split_seed)
    if recipe.data.pool and test:
        learned, test = learned.concat(test), None
    if recipe.data.test_share and test is None:
        kept, drawn = stratified_split(learned.labels, recipe.data.test_share, rng)
        learned, test = learned.select(kept), learned.select(drawn)
    if not recipe.fit.validation_share:
        return Splits(learned, None, test, test if recipe.data.watch == "test" else None)
    kept, drawn = stratified_split(learned.labels, recipe.fit.validation_share, rng)
    validation = learned.select(drawn)
    return Splits(learned.select(kept), validation, test, test if recipe.data.watch == "test" else validation)


@renamed(keep_best="restore_best")
class Experiment:
    """One run of a recipe: loads the data, trains epoch by epoch, saves the result."""

    def __init__(self, recipe: Recipe, progress: Progress | None = None) -> None:
        """Load the data and initialise the network. Raises what `split`, `load` and `load_teacher` raise."""
        if recipe.data.start_from:
            self.network = load(recipe.data.start_from)
            recipe = recipe.continuing(self.network.config)
        elif recipe.requires_initial_weights:
            raise ConfigError(f"{recipe.name} goes on from weights: set start_from", field="start_from")
        self.splits = load_splits(recipe, progress)
        classes = self.splits.train.classes
        if recipe.data.start_from:
            check_same_labels(self.network, classes)
        else:
            recipe = recipe.fitted(len(classes))
            self.network = MLP(recipe.network, recipe.fit.seed)
        self.recipe = recipe
        self.teachers = [load_teacher(said, self.network.config, classes) for said in recipe.data.teachers]
        self.run = TrainingState.start(self.network, recipe.fit)
        self._started = time.perf_counter()

    def epochs(self, on_step: OnStep | None = None) -> Iterator[Epoch]:
        """Train, yielding each epoch. Raises what `train` raises."""
        features = self.network.config.input.to_features
        learned, held_out, data = self.splits.train, self.splits.monitored, self.recipe.data
        networks = [teacher.network for teacher in self.teachers]
        distillation = make_distillation(networks, data.teacher_share, data.teacher_temperature) if networks else None
        yield from train(
            self.run,
            (features(learned.images), learned.labels),
            self.recipe.fit,
            validation=(features(held_out.images), held_out.labels) if held_out else None,
            augment=self.recipe.make_augment(),
            loss_transform=distillation,
            on_step=on_step,
        )

    def evaluation(self, on: str | None = None) -> Evaluation:
        """Evaluate the network on one split, by default on `final_test`."""
        part: Dataset | None = getattr(self.splits, on) if on else self.splits.final_test
        if part is None:
            raise ConfigError(f"{self.recipe.name} holds out no {on} examples", field="validation_share")
        return evaluate(self.network, part)

    def restore_best(self) -> None:
        """Restore the weights of the best epoch, if they were kept; for a run that was interrupted."""
        if self.run.best:
            self.network.load_state_dict(self.run.best)

    def resume(self, path: Path) -> None:
        """Resume from a checkpoint, if there is one. Raises what `load_checkpoint` raises."""
        if path.exists():
            self.run = load_checkpoint(path, self.network, self.recipe.fit)

    def checkpoint(self, path: Path) -> None:
        """Write a checkpoint."""
        save_checkpoint(path, self.run, self.recipe.fit)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write `weights.npz` and `manifest.json` into a folder and return the manifest."""
        content = to_bytes(self.network)
        manifest = self._manifest() | {"weights_sha256": sha256(content).hexdigest()}
        write_atomically(folder / "weights.npz", content)
        write_atomically(folder / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())
        return manifest

    def _manifest(self) -> dict[str, Any]:
        splits, history = self.splits, self.run.history
        best = best_epoch(history) if self.recipe.fit.keep_best else None
        last = best or (history[-1] if history else None)
        metrics: dict[str, Any] = {"epochs": len(history), "seconds": round(time.perf_counter() - self._started, 3)}
        if last:
            metrics |= {name: value for name, value in last.to_dict().items() if name.endswith(("_loss", "_accuracy"))}
        evaluation = self.evaluation()
        part = "test" if splits.test else "validation" if splits.validation else "train"
        metrics |= {f"{part}_accuracy": evaluation.accuracy, f"{part}_examples": evaluation.examples}
        metrics |= {"calibration_error": evaluation.calibration_error}
        if splits.extra and splits.extra.held_out:
            judged = evaluate(self.network, splits.extra.held_out)
            metrics |= {"extra_accuracy": judged.accuracy, "extra_examples": judged.examples}
        return {
            "format": MANIFEST_FORMAT,
            "labels": list(splits.train.classes),
            "recipe": self.recipe.name,
            "settings": self.recipe.to_flat_dict(),
            "seed": self.recipe.fit.seed,
            "data": {
                "name": splits.train.name,
                "fingerprint": splits.train.fingerprint(),
                "train_examples": len(splits.train),
                "validation_examples": len(splits.validation or ()),
                "test_examples": len(splits.test or ()),
                "extra": _extra_metadata(splits.extra),
                "skipped_files": len(splits.train.skipped) + len(splits.test.skipped if splits.test else ()),
                "skipped": [*splits.train.skipped, *(splits.test.skipped if splits.test else ())][:_MAX_NAMED],
                "teachers": [teacher.provenance() for teacher in self.teachers],
            },
            "baseline": profile(splits.train),
            "metrics": metrics,
            "preprocessing": preprocessing_id(self.network.config.input),
            "temperature": 1.0,
            "libraries": {"glyphserve": _own_version(), "numpy": np.__version__, "python": platform.python_version()},
            "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }


def _extra_metadata(extra: ExtraData | None) -> dict[str, Any] | None:
    if extra is None:
        return None
    counts = {"examples": len(extra.train), "held_out_examples": len(extra.held_out or ())}
    return {"name": extra.name, "fingerprint": extra.fingerprint} | counts


def _own_version() -> str:
    try:
        return version("glyphserve")
    except PackageNotFoundError:  # a source tree that is not installed
        return "source"
