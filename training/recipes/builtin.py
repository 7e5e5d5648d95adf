"""The built-in recipes: our own, the released models', and those of published systems."""

from training.errors import ConfigError
from training.fit.config import FitConfig
from training.nn.config import MLPConfig
from training.recipes.config import DataConfig, Published, Recipe
from training.recipes.released import HANDS_AND_PENS, HELD_OUT, RELEASED
from training.vision.input_spec import InputSpec


def get(name: str) -> Recipe:
    """Return a recipe by name. Raises ConfigError that lists all names."""
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}; choose one of {', '.join(RECIPES)}", field="recipe")
    return RECIPES[name]


_POOLED = DataConfig(data="mnist", pool=True)

OWN = (
    Recipe(
        "starter",
        "784-128-64-10 on the bundled 5,000 digits: seconds, about 94 % of what it has not seen. "
        "For first experiments; the released models are better.",
        fit=FitConfig(epochs=12, batch_size=64, validation_share=0.2, schedule="cosine", keep_best=True),
    ),
    Recipe(
        "quick",
        "784-256-128-10 on all of MNIST with dropout and a one-cycle rate: half a minute, above 98 %.",
        network=MLPConfig(layers=(784, 256, 128, 10), dropout=0.2),
        fit=FitConfig(
            epochs=30,
            learning_rate=0.003,
            schedule="one_cycle",
            weight_decay=0.01,
            validation_share=0.1,
            keep_best=True,
        ),
        data=DataConfig(data="mnist"),
    ),
    Recipe(
        "corrections",
        "Twelve more epochs for a network that has learned before, with extra examples: set start_from and extra_data.",
        fit=FitConfig(
            epochs=12,
            batch_size=256,
            learning_rate=0.002,
            schedule="cosine",
            weight_decay=0.01,
            validation_share=HELD_OUT,
        ),
        data=DataConfig(data="mnist", extra_share=0.04, augment="handwriting", augment_options=HANDS_AND_PENS),
        requires_initial_weights=True,
    ),
    Recipe(
        "sprint",
        "100-256-10 on blocks of 2×2 pixels to 98 % of MNIST's test digits: three epochs, half a second of training.",
        network=MLPConfig((100, 256, 10), initializer="glorot", input=InputSpec(side=20, block=2)),
        fit=FitConfig(
            epochs=3,
            batch_size=192,  # fewer steps of Adam than 128 makes, and 98 % for as many seeds
            learning_rate=0.012,
            schedule="one_cycle",
            optimizer_options={"beta2": 0.98},
            label_smoothing=0.1,
        ),
        data=DataConfig(data="mnist", watch="test"),
        published=Published(0.98, "at least 98 % after 3 epochs, 10 of 10 seeds", seeds=10),
    ),
)

PUBLISHED = (
    Recipe(
        "nielsen",
        "Nielsen, Neural Networks and Deep Learning, chapter 1: 784-30-10, sigmoids, quadratic loss, plain SGD.",
        network=MLPConfig((784, 30, 10), activation="sigmoid", output="sigmoid", initializer="standard_normal"),
        fit=FitConfig(
            epochs=30, batch_size=10, loss="quadratic", optimizer="sgd", learning_rate=3.0, validation_share=1 / 6
        ),
        data=DataConfig(data="mnist", watch="test"),
        log_format="correct_of_total",
        published=Published(0.9485, "9,485 / 10,000 at its best epoch", best_epoch=True),
    ),
    Recipe(
        "raschka",
        "Raschka, Machine Learning with PyTorch and Scikit-Learn, chapter 11: 784-50-10, sigmoids, squared error.",
        network=MLPConfig(
            (784, 50, 10),
            activation="sigmoid",
            output="sigmoid",
            initializer="normal_0.1",
            input=InputSpec(low=-1.0),
        ),
        fit=FitConfig(
            epochs=50,
            batch_size=100,
            loss="squared_error",
            optimizer="sgd",
            learning_rate=0.1,
            validation_share=1 / 12,
            evaluate_training=True,
        ),
        data=DataConfig(data="mnist", pool=True, test_share=1 / 7),
        log_format="mse_and_accuracies",
        published=Published(0.9451, "test 94.51 %"),
    ),
    Recipe(
        "two_layer",
        "Saitoh, Deep Learning from Scratch, chapter 4: 784-50-10, sigmoid and softmax, batches with replacement.",
        network=MLPConfig((784, 50, 10), initializer="normal_0.01", activation="sigmoid"),
        fit=FitConfig(
            epochs=17,
            batch_size=100,
            optimizer="sgd",
            learning_rate=0.1,
            replacement=True,
            steps_per_epoch=600,
            max_steps=10_000,
            evaluate_training=True,
        ),
        data=DataConfig(data="mnist", watch="test"),
        log_format="train_and_test",
        published=Published(0.94, "about 94 % or better on test"),
    ),
    Recipe(
        "deep_sigmoid",
        "784-128-64-10 of sigmoids without biases, example by example at rate 0.001.",
        network=MLPConfig((784, 128, 64, 10), initializer="normal_by_outputs", bias=False, activation="sigmoid"),
        fit=FitConfig(epochs=10, batch_size=1, optimizer="sgd", learning_rate=0.001, validation_share=0.15),
        data=_POOLED,
        log_format="time_and_accuracy",
        published=Published(0.925, "93 % done right; at least 92.5 % for each of 5 seeds", split="validation", seeds=5),
    ),
    Recipe(
        "deep_exercises",
        "The same with its exercises done: ReLU, He weights, biases, mini-batches of 64, Adam with a falling rate.",
        fit=FitConfig(epochs=10, batch_size=64, schedule="cosine", validation_share=0.15),
        data=_POOLED,
        log_format="time_and_accuracy",
        published=Published(0.975, "at least 97.5 % for each of 5 seeds", split="validation", seeds=5),
    ),
    Recipe(
        "deep_momentum",
        "The exercises with momentum instead of Adam.",
        fit=FitConfig(
            epochs=10,
            batch_size=64,
            optimizer="sgd",
            optimizer_options={"momentum": 0.9},
            learning_rate=0.05,
            validation_share=0.15,
        ),
        data=_POOLED,
        log_format="time_and_accuracy",
        published=Published(0.965, "at least 96.5 %", split="validation", seeds=1),
    ),
    Recipe(
        "deep_adagrad",
        "The exercises with AdaGrad instead of Adam.",
        fit=FitConfig(epochs=10, batch_size=64, optimizer="adagrad", learning_rate=0.02, validation_share=0.15),
        data=_POOLED,
        log_format="time_and_accuracy",
        published=Published(0.965, "at least 96.5 %", split="validation", seeds=1),
    ),
    Recipe(
        "coursera",
        "The Machine Learning Specialization's digits: 400-25-15-10 on 5,000 images of 20×20, Adam.",
        network=MLPConfig((400, 25, 15, 10), initializer="glorot", input=InputSpec(side=20)),
        fit=FitConfig(epochs=40, batch_size=32),
        log_format="keras",
        published=Published(0.99, "at least 99 % of the training examples after 40 epochs", split="train"),
    ),
    Recipe(
        "coursera_binary",
        "The same course's zeros and ones: 400-25-15-1 of sigmoids.",
        network=MLPConfig(
            (400, 25, 15, 1), activation="sigmoid", output="sigmoid", initializer="glorot", input=InputSpec(side=20)
        ),
        fit=FitConfig(epochs=40, batch_size=32, loss="binary_cross_entropy"),
        data=DataConfig(classes=(0, 1)),
        log_format="keras",
        published=Published(0.995, "at least 99.5 %", split="train"),
    ),
)

RECIPES = {recipe.name: recipe for recipe in (*OWN, *RELEASED, *PUBLISHED)}
