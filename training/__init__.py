"""Multilayer perceptrons in NumPy: networks, training, evaluation, files. NumPy is all that it needs."""

from typing import Any

from training import data, recipes
from training.classifier import MLPClassifier
from training.data import Dataset
from training.deprecation import former
from training.errors import ConfigError, DataError, DivergedError, TrainingError, WeightsError
from training.evaluation.evaluate import Evaluation, evaluate
from training.export.npz import load, save
from training.fit.config import FitConfig
from training.fit.history import Epoch, History, print_line
from training.fit.loop import TrainingState, fit, train
from training.nn.config import MLPConfig
from training.nn.mlp import MLP
from training.recipes.config import DataConfig, Recipe
from training.recipes.experiment import Experiment

__all__ = [
    "MLP",
    "ConfigError",
    "DataConfig",
    "DataError",
    "Dataset",
    "DivergedError",
    "Epoch",
    "Evaluation",
    "Experiment",
    "FitConfig",
    "History",
    "MLPClassifier",
    "MLPConfig",
    "Recipe",
    "TrainingError",
    "TrainingState",
    "WeightsError",
    "data",
    "evaluate",
    "fit",
    "load",
    "print_line",
    "recipes",
    "save",
    "train",
]


def __getattr__(name: str) -> Any:
    """Return what an older release exported under this name."""
    return former(__name__, name, {"Run": TrainingState})
