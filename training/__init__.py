"""glyphserve's training half: what a network is, how it learns, and how it is saved. NumPy is all it needs."""

from training import data, recipes
from training.callbacks import Epoch, print_line
from training.data import Dataset
from training.errors import ConfigError, DataError, DivergedError, TrainingError, WeightsError
from training.evaluation import Evaluation, evaluate
from training.experiment import Experiment
from training.export import load, save
from training.fit import Run, fit, train
from training.fit_config import FitConfig
from training.network import MLP, MLPConfig
from training.recipe import DataConfig, Recipe

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
    "MLPConfig",
    "Recipe",
    "Run",
    "TrainingError",
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
