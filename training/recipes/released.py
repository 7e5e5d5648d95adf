"""The recipes of the released models (`models/`), which `python -m training fit` trains on MNIST.

Each holds out 5,000 training images, on which settings were chosen and the temperature is fitted, and deforms every
image anew in each epoch (see `augment.handwriting`).
"""

from training.fit.config import FitConfig
from training.nn.config import MLPConfig
from training.recipes.config import DataConfig, Recipe

HELD_OUT = 1 / 12
"""Fraction of the training images; training that continues from these models must hold out the same."""
_WARM_UP = {"warm_up": 0.02}

HANDS_AND_PENS = {
    "max_degrees": 12.0,
    "max_shear": 0.25,
    "max_stretch": 0.2,
    "alpha": 36.0,
    "min_box": 18.0,
    "bolder": 0.8,
    "finer": 0.8,
    "max_blur": 1.2,
    "max_cell": 3.0,
    "pens": 0.5,
}
"""Options of `handwriting` for different writers, pens, cameras and scanners."""

RELEASED = (
    Recipe(
        "mnist",
        "The default: 784-256-128-10, robust to other writers and cameras; a quarter of an hour of a core, 0.31 GB.",
        network=MLPConfig(layers=(784, 256, 128, 10)),
        fit=FitConfig(
            epochs=150,
            batch_size=128,
            learning_rate=0.002,
            schedule="cosine",
            schedule_options=_WARM_UP,
            weight_decay=0.01,
            validation_share=HELD_OUT,
        ),
        data=DataConfig(
            data="mnist",
            augment="handwriting",
            augment_options=HANDS_AND_PENS,
        ),
    ),
    Recipe(
        "fast",
        "784-128-64-10, as small as the tutorials' networks: a quarter of an hour of a whole core, 0.31 GB.",
        fit=FitConfig(
            epochs=180,
            batch_size=128,
            learning_rate=0.002,
            schedule="cosine_restarts",
            schedule_options=_WARM_UP | {"cycles": 2, "growth": 2.0, "peak": 0.7},
            validation_share=HELD_OUT,
        ),
        data=DataConfig(
            data="mnist",
            augment="handwriting",
            augment_options={"alpha": 36.0, "bolder": 0.3, "finer": 0.3, "pens": 0.3},
        ),
    ),
    Recipe(
        "accurate",
        "784-1536-1024-512-10: the fewest errors of the released models; some 90 minutes of a whole core, 0.43 GB.",
        network=MLPConfig(layers=(784, 1536, 1024, 512, 10)),
        fit=FitConfig(
            epochs=380,
            batch_size=512,
            learning_rate=0.0015,
            schedule="cosine_restarts",
            schedule_options=_WARM_UP | {"cycles": 3, "growth": 1.5, "peak": 0.7},
            weight_decay=0.05,
            label_smoothing=0.05,
            validation_share=HELD_OUT,
            seed=2,  # the best of three on the held-out images
        ),
        data=DataConfig(
            data="mnist",
            augment="handwriting",
            augment_options={"max_degrees": 12.0, "alpha": 48.0, "bolder": 0.3, "finer": 0.3, "pens": 0.3},
        ),
    ),
)
