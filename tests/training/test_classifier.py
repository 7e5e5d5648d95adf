"""MLPClassifier behaves as scikit-learn's estimators do, with scikit-learn or without it."""

import pickle

import numpy as np
import pytest

from training import ConfigError, DataError, MLPClassifier

NAMES = np.array(["red", "green", "blue"])


@pytest.fixture
def blobs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Three clouds of points and the names of their colours."""
    labels = rng.integers(0, 3, 300)
    centres = np.array([[2.0, 0.0], [-2.0, 1.0], [0.0, -2.0]])
    return centres[labels] + 0.3 * rng.normal(size=(300, 2)), NAMES[labels]


def small(**settings: object) -> MLPClassifier:
    return MLPClassifier((16,), epochs=15, batch_size=32, learning_rate=0.01).set_params(**settings)


def test_a_classifier_is_fitted_and_predicts(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = blobs
    classifier = small().fit(x, y)
    assert classifier.classes_.tolist() == ["blue", "green", "red"]
    assert classifier.n_features_in_ == 2
    assert classifier.network_.config.layers == (2, 16, 3)
    assert (classifier.predict(x) == y).all()
    assert classifier.score(x, y) == classifier.network_.score(x, y) == 1.0
    assert classifier.predict_proba(x[:5]).shape == (5, 3)
    assert len(classifier.history_) == 15


@pytest.mark.parametrize("labels", [np.array([1.0, 2.0, 5.0]), np.array([False, True, True]), np.array([7, 8, 9])])
def test_labels_of_other_types_are_predicted_as_they_came(labels: np.ndarray, blobs: tuple[np.ndarray, ...]) -> None:
    x, names = blobs
    y = labels[np.searchsorted(np.sort(NAMES), names)]
    predicted = small(hidden_layers=[8], epochs=30).fit(x, y).predict(x)
    assert predicted.dtype == y.dtype
    assert (predicted == y).mean() > 0.98


def test_settings_are_read_and_changed_by_name() -> None:
    classifier = small(dropout=0.1)
    assert classifier.get_params() == {
        "hidden_layers": (16,), "epochs": 15, "batch_size": 32, "learning_rate": 0.01, "dropout": 0.1
    }  # fmt: skip
    assert MLPClassifier(**classifier.get_params()).get_params() == classifier.get_params()
    assert repr(MLPClassifier((8,), epochs=3)) == "MLPClassifier(hidden_layers=(8,), epochs=3)"
    with pytest.raises(ConfigError, match="unknown setting 'lr' of MLPClassifier; use learning_rate"):
        small(lr=0.1)


def test_sample_weights_decide_what_is_learned(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = blobs
    classifier = small().fit(x, y, sample_weight=y != "red")
    assert (classifier.predict(x[y == "red"]) == "red").mean() < 0.3
    assert classifier.score(x, y, sample_weight=y != "red") > 0.98


def test_what_cannot_be_fitted_is_refused(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = blobs
    with pytest.raises(DataError, match="not fitted yet; call fit"):
        small().predict(x)
    with pytest.raises(DataError, match="y has 1 class"):
        small().fit(x, np.full(300, "red"))
    with pytest.raises(DataError, match="flatten images"):
        small().fit(np.zeros((300, 2, 2)), y)


def test_a_fitted_classifier_is_pickled(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    classifier = small().fit(*blobs)
    twin = pickle.loads(pickle.dumps(classifier))  # noqa: S301 -- our own bytes
    assert (twin.predict(blobs[0]) == classifier.predict(blobs[0])).all()


def test_scikit_learn_clones_validates_and_searches(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from sklearn.base import clone, is_classifier
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = small()
    assert is_classifier(classifier)
    assert clone(classifier).get_params() == classifier.get_params()
    assert cross_val_score(make_pipeline(StandardScaler(), classifier), *blobs, cv=3).mean() > 0.95
    search = GridSearchCV(classifier, {"hidden_layers": [(4,), (16,)], "epochs": [1, 15]}, cv=3).fit(*blobs)
    assert search.best_params_["epochs"] == 15
