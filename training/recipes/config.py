"""A recipe: everything that makes a training run, as data. It can be named, changed setting by setting, and kept.

Its settings are one flat dictionary, because that is how a command line, an HTTP body and a search speak of them;
`Recipe.replace` knows which of the three configs each belongs to.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from training.augment.geometry import Augment
from training.augment.random_deform import make_augment
from training.deprecation import renamed
from training.errors import ConfigError
from training.fit.config import FitConfig, hash_of
from training.limits import Limit, shown, validate_fields, validate_whole_numbers
from training.nn.mlp import MLPConfig
from training.settings import unknown_setting


@dataclass(frozen=True)
class DataConfig:
    """Which examples a recipe learns from, which it is judged on, what it starts from, and who teaches it."""

    data: str = "starter"
    """A source: starter, mnist, fashion, a folder or an `.npz`."""
    skip_unreadable: bool = False
    """Whether to leave out files of a folder of images that cannot be read; the manifest counts and names them."""
    pool: bool = False
    """Whether the source's own test examples are mixed into the training examples first."""
    test_share: float = 0.0
    """Share drawn for testing where the source has no test examples of its own, or they were pooled."""
    classes: tuple[int, ...] | None = None
    """Keep only these classes, numbered anew; None for all."""
    split_seed: int = 42
    """Of the draws into training, validation and test: fixed, so that runs of any seed are judged alike."""
    watch: str = "validation"
    """What is measured after each epoch, validation or test; the published systems watch their test examples."""
    augment: str = "none"
    """How the training examples are deformed anew in each epoch; a name in AUGMENTATIONS."""
    augment_options: Mapping[str, Any] = field(default_factory=dict)
    """Its options, such as max_shift, max_degrees, alpha."""
    extra_data: str | None = None
    """A second source to learn from, such as corrections: a folder or an `.npz`; see `training.data.extra_data`."""
    extra_share: float = 0.05
    """Share of each epoch that its examples make up, by being repeated, if they are enough for that."""
    start_from: str | None = None
    """A `weights.npz` to start from instead of drawn weights; the network is then the one that it holds."""
    teachers: tuple[str, ...] = ()
    """Networks whose answers are learned beside the labels: released models such as `accurate/5`, or `weights.npz`."""
    teacher_share: float = 0.5
    """The teachers' share of the loss."""
    teacher_temperature: float = 1.0
    """Divides the logits that are held against the teachers', and theirs: above 1, small likenesses count more."""

    def __post_init__(self) -> None:
        """Check what can be checked without the data."""
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
    """The figure that a published system reports, and how it is to be compared."""

    accuracy: float
    """The share of right answers that must be reached."""
    quote: str
    """As its publication puts it."""
    split: str = "test"
    """The examples that it was measured on: train, validation or test."""
    best_epoch: bool = False
    """Whether the best epoch counts instead of the last."""
    seeds: int = 3
    """How many seeds must reach it."""


@renamed(settings="to_flat_dict", lines="log_format", continues="requires_initial_weights")
@dataclass(frozen=True)
class Recipe:
    """A named training run."""

    name: str
    description: str
    network: MLPConfig = field(default_factory=MLPConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    data: DataConfig = field(default_factory=DataConfig)
    log_format: str = "plain"
    """The form of its epoch lines; a name in `reports.LOG_FORMATS`."""
    published: Published | None = None
    requires_initial_weights: bool = False
    """Whether it is made to go on from weights, and makes no sense without `start_from`."""
    layers_are_set: bool = field(default=False, compare=False)
    """Whether `layers` were set; else the last of them follows the number of classes."""

    def __post_init__(self) -> None:
        """Check that the three fit each other, as far as that can be told without data."""
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
        """Build the deformation for what the network sees. Raises ConfigError for an unknown one."""
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
        """Copy with changed settings; other examples or classes are learned without the recipe's own teachers.

        Raises ConfigError, naming the field, for unknown and impossible ones.
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
        """Let the last of the layers follow the number of classes, unless layers were set."""
        layers = self.network.layers
        if self.layers_are_set or classes == max(layers[-1], 2):
            return self
        return replace(self, network=self.network.replace(layers=(*layers[:-1], classes)))

    def continuing(self, network: MLPConfig) -> "Recipe":
        """Copy for a network that has learned before. Raises ConfigError when it does not fit the recipe."""
        return replace(self, network=network, layers_are_set=True)

    def to_flat_dict(self) -> dict[str, Any]:
        """Give all settings as one flat dictionary of JSON values; `replace` takes it back."""
        settings = self.network.to_dict() | asdict(self.fit) | asdict(self.data)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}


_PARTS = {"network": MLPConfig, "fit": FitConfig, "data": DataConfig}
_PART_OF = {f.name: part for part, config in _PARTS.items() for f in fields(config)}
