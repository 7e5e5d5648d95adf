"""Multilayer perceptrons in NumPy: networks, training, evaluation, files."""

from training import data, recipes
from training.callbacks import Epoch, History, print_line
from training.classifier import MLPClassifier
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
    "History",
    "MLPClassifier",
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
