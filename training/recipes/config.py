"""Recipes: complete sets of settings for a training run, as frozen data.

The command line, HTTP bodies and searches use a flat dictionary of settings; `Recipe.replace` assigns each to one of
the three configs.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from training.augment.geometry import Augment
from training.augment.random_deform import make_augment
from training.deprecation import renamed
from training.errors import ConfigError
from training.fit.config import FitConfig
from training.limits import Limit, hash_of, shown, validate_fields, validate_whole_numbers
from training.nn.config import MLPConfig
from training.settings import unknown_setting


@dataclass(frozen=True)
class DataConfig:
    """The data of a training run: training and test examples, initial weights and teachers."""

    data: str = "starter"
    """A data set: starter, mnist, fashion, a folder or an `.npz`."""
    skip_unreadable: bool = False
    """Whether to leave out unreadable files of an image folder; the manifest counts and names them."""
    pool: bool = False
    """Whether to merge the test examples of the data set into its training examples before splitting."""
    test_share: float = 0.0
    """Fraction drawn for testing if the data set has no test examples, or they were pooled."""
    classes: tuple[int, ...] | None = None
    """Use only these classes, renumbered; None for all."""
    split_seed: int = 42
    """Seeds the split into training, validation and test examples, independently of `seed`."""
    watch: str = "validation"
    """The split to evaluate after each epoch, validation or test; published systems monitor their test examples."""
    augment: str = "none"
    """Augmentation of the training examples; a key of AUGMENTATIONS."""
    augment_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the augmentation, such as max_shift, max_degrees, alpha."""
    extra_data: str | None = None
    """Additional training data, such as corrections: a folder or an `.npz`; see `training.data.extra_data`."""
    extra_share: float = 0.05
    """Fraction of each epoch that the additional examples make up by oversampling, if there are enough."""
    start_from: str | None = None
    """A `weights.npz` with initial weights; it also determines the architecture."""
    teachers: tuple[str, ...] = ()
    """Networks to distil from: released models such as `accurate/5`, or paths of `weights.npz`."""
    teacher_share: float = 0.5
    """Weight of the distillation loss, from 0 to 1."""
    teacher_temperature: float = 1.0
    """Temperature of distillation: above 1, small probabilities of the teachers count more."""

    def __post_init__(self) -> None:
        """Validate what does not depend on the data."""
        validate_fields(self, _DATA_LIMITS)
        if not isinstance(self.data, str) or not self.data:
            raise ConfigError(f"data must name a source, not {shown(self.data)}", field="data")
        for name in ("extra_data", "start_from"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                raise ConfigError(f"{name} must be a path, not {shown(value)}", field=name)
        if not isinstance(self.watch, str) or self.watch not in ("validation", "test"):
            raise ConfigError(f"watch must be validation or test, not {shown(self.watch)}", field="watch")
        if not isinstance(self.augment, str):
            raise ConfigError(f"augment must be a name, not {shown(self.augment)}", field="augment")
        if not isinstance(self.augment_options, Mapping):
            raise ConfigError(
                f"augment_options must map names of options to values, not {shown(self.augment_options)}",
                field="augment_options",
            )
        object.__setattr__(self, "augment_options", dict(self.augment_options))
        if self.classes is not None:
            wanted = "a list of different class numbers"
            classes = validate_whole_numbers("classes", self.classes, 0, wanted)
            if not classes or len(set(classes)) < len(classes):
                raise ConfigError(f"classes must be {wanted}; got {shown(self.classes)}", field="classes")
            object.__setattr__(self, "classes", classes)
        self._check_teachers()

    def __hash__(self) -> int:
        """See `FitConfig.__hash__`."""
        return hash_of(self)

    def _check_teachers(self) -> None:
        if isinstance(self.teachers, str):
            object.__setattr__(self, "teachers", (self.teachers,))
        if not isinstance(self.teachers, list | tuple) or not all(isinstance(t, str) and t for t in self.teachers):
            raise ConfigError(
                f"teachers must be names of released models or paths, not {shown(self.teachers)}", field="teachers"
            )
        object.__setattr__(self, "teachers", tuple(self.teachers))


_DATA_LIMITS = {
    "test_share": Limit(0, 0.9, "from 0 to 0.9"),
    "split_seed": Limit(0, 2**63, "from 0 to 2^63", whole=True),
    "extra_share": Limit(1e-9, 0.9, "above 0 and at most 0.9"),
    "teacher_share": Limit(0, 1, "from 0 to 1"),
    "teacher_temperature": Limit(0.1, 100, "from 0.1 to 100"),
}


@dataclass(frozen=True)
class Published:
    """The accuracy that a published system reports, and how to compare with it."""

    accuracy: float
    """The accuracy to reach."""
    quote: str
    """The wording of the publication."""
    split: str = "test"
    """The split that it was measured on: train, validation or test."""
    best_epoch: bool = False
    """Whether the best epoch counts instead of the last."""
    seeds: int = 3
    """Number of seeds to run."""


@renamed(settings="to_flat_dict", lines="log_format", continues="requires_initial_weights")
@dataclass(frozen=True)
class Recipe:
    """A named set of settings for network, training and data."""

    name: str
    description: str
    network: MLPConfig = field(default_factory=MLPConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    data: DataConfig = field(default_factory=DataConfig)
    log_format: str = "plain"
    """Format of the line per epoch; a key of `cli.log_formats.LOG_FORMATS`."""
    published: Published | None = None
    requires_initial_weights: bool = False
    """Whether it continues a training, so that `start_from` is required."""
    layers_are_set: bool = field(default=False, compare=False)
    """Whether `layers` were set; otherwise the last one follows the number of classes."""

    def __post_init__(self) -> None:
        """Check that the configs are consistent, as far as that does not depend on the data."""
        inputs = self.network.input.grid_size**2
        if self.network.layers[0] != inputs:
            raise ConfigError(
                f"the first of layers must be {inputs}, one for each pixel (or block of them) that the network sees, "
                f"not {self.network.layers[0]}",
                field="layers",
            )
        if self.data.teachers and (self.fit.loss, self.network.output) != ("cross_entropy", "softmax"):
            raise ConfigError("teachers go with the loss cross_entropy and the output softmax", field="teachers")
        if self.fit.patience and not self.fit.validation_share and self.data.watch != "test":
            raise ConfigError("patience counts validations: set validation_share above 0", field="patience")
        self.make_augment()

    def make_augment(self) -> Augment | None:
        """Build the augmentation for the input of the network. Raises ConfigError for invalid options."""
        form = self.network.input
        augment = make_augment(self.data.augment, self.data.augment_options, form.side, form.low)
        if self.data.augment == "handwriting" and not form.low < form.high == 1:
            raise ConfigError(
                "handwriting draws ink of 1: the input's low must be below 1, its high 1", field="augment"
            )
        if augment and form.block > 1:
            raise ConfigError("deformations move single pixels: the input's block must be 1", field="augment")
        return augment

    def replace(self, **settings: Any) -> "Recipe":
        """Copy with changed settings. If data or classes change, the teachers of the recipe are removed.

        Raises ConfigError, naming the field, for unknown and invalid ones.
        """
        changes: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
        for name, value in settings.items():
            part = _PART_OF.get(name)
            if part is None:
                raise unknown_setting("a recipe", name, _PART_OF)
            changes[part][name] = tuple(value) if isinstance(value, list) else value
        parts: dict[str, Any] = {}
        for part, changed in changes.items():
            try:
                parts[part] = replace(getattr(self, part), **changed)
            except TypeError as error:
                name = next(iter(changed), part)
                raise ConfigError(f"a setting is of the wrong type: {error}", field=name) from error
        was, data = self.data, parts["data"]
        if "teachers" not in settings and (data.data, data.classes) != (was.data, was.classes):
            parts["data"] = replace(data, teachers=())
        return replace(self, **parts, layers_are_set=self.layers_are_set or "layers" in settings)

    def fitted(self, classes: int) -> "Recipe":
        """Set the last of the layers to the number of classes, unless layers were set."""
        layers = self.network.layers
        if self.layers_are_set or classes == max(layers[-1], 2):
            return self
        return replace(self, network=self.network.replace(layers=(*layers[:-1], classes)))

    def continuing(self, network: MLPConfig) -> "Recipe":
        """Copy with the architecture of a trained network. Raises ConfigError if it does not fit the recipe."""
        return replace(self, network=network, layers_are_set=True)

    def to_flat_dict(self) -> dict[str, Any]:
        """Return all settings as one flat dictionary of JSON values, which `replace` accepts."""
        settings = self.network.to_dict() | asdict(self.fit) | asdict(self.data)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


_PARTS = {"network": MLPConfig, "fit": FitConfig, "data": DataConfig}
_PART_OF = {f.name: part for part, config in _PARTS.items() for f in fields(config)}
