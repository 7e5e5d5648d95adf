"""A classifier with scikit-learn's interface, for its pipelines, grid searches and cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from training.errors import DataError
from training.evaluation.evaluate import two_column_probabilities
from training.fit.config import FitConfig
from training.fit.history import History
from training.inputs.array_likes import as_array
from training.nn.config import MLPConfig
from training.nn.mlp import MLP
from training.settings import unknown_setting

_NETWORK = tuple(f.name for f in fields(MLPConfig) if f.name != "layers")
_FIT = tuple(f.name for f in fields(FitConfig))


class MLPClassifier:
    """A network that is built when it is fitted: its inputs follow the features, its outputs the classes.

    `hidden_layers` are the units of the hidden layers; all other keywords are settings of MLPConfig and FitConfig.
    Fitted, it has `network_`, `classes_`, `n_features_in_` and `history_`. scikit-learn need not be installed.
    """

    _estimator_type = "classifier"

    def __init__(self, hidden_layers: Sequence[int] = (128, 64), **settings: Any) -> None:
        """Keep the settings; they are checked by `fit`. Raises ConfigError for unknown ones."""
        self.hidden_layers: Any = hidden_layers
        self._settings: dict[str, Any] = {}
        self.set_params(**settings)

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002 -- scikit-learn's signature
        """Return the settings by name."""
        return {"hidden_layers": self.hidden_layers} | self._settings

    def set_params(self, **settings: Any) -> MLPClassifier:
        """Change settings. Raises ConfigError for unknown ones."""
        for name, value in settings.items():
            if name == "hidden_layers":
                self.hidden_layers = value
            elif name in _NETWORK or name in _FIT:
                self._settings[name] = value
            else:
                raise unknown_setting("MLPClassifier", name, ("hidden_layers", *_NETWORK, *_FIT))
        return self

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPClassifier:  # noqa: N803 -- scikit-learn's signature
        """Train a new network on rows X (n, features) and labels y (n,) of any type."""
        self.classes_, numbers = np.unique(np.asarray(y), return_inverse=True)
        self.n_features_in_ = self._features(X)
        if len(self.classes_) < 2:
            raise DataError(f"y has {len(self.classes_)} class; at least two are needed")
        config = FitConfig(**{name: value for name, value in self._settings.items() if name in _FIT})
        layers = (self.n_features_in_, *self.hidden_layers, len(self.classes_))
        network = MLPConfig(layers, **{name: value for name, value in self._settings.items() if name in _NETWORK})
        self.network_ = MLP(network, config.seed)
        self.history_: History = self.network_.fit(X, numbers.ravel(), config, sample_weight=sample_weight)
        self.network_.classes_ = self.classes_
        return self

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803 -- scikit-learn's signature
        """Return the probabilities of the classes, shape (n, classes). Raises DataError before `fit`."""
        if not hasattr(self, "network_"):
            raise DataError("this MLPClassifier is not fitted yet; call fit(X, y) first")
        return two_column_probabilities(self.network_, X)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803 -- scikit-learn's signature
        """Return the most probable label of each row, shape (n,)."""
        numbers = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[numbers])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803 -- scikit-learn's signature
        """Return the accuracy."""
        return float(np.average(self.predict(X) == np.asarray(y), weights=sample_weight))

    def __repr__(self) -> str:
        """Show the settings."""
        return f"MLPClassifier({', '.join(f'{name}={value!r}' for name, value in self.get_params().items())})"

    def __sklearn_tags__(self) -> Any:
        """Describe the estimator to scikit-learn 1.6 and later."""
        from sklearn.utils import ClassifierTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            transformer_tags=None,
            regressor_tags=None,
            classifier_tags=ClassifierTags(),
        )

    @staticmethod
    def _features(X: Any) -> int:  # noqa: N803 -- scikit-learn's name
        shape = as_array("X", X).shape
        if len(shape) != 2:
            raise DataError(f"X must have shape (n, features), got {shape}; flatten images: X.reshape(len(X), -1)")
        return int(shape[1])
