"""What can go wrong in training, in words that say what to change."""


class TrainingError(ValueError):
    """Any error of this package that the caller can mend; its text is written for a person."""


class ConfigError(TrainingError):
    """A setting that cannot work. `field` names it, so that a form or an API can point at it."""

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        """Keep the name of the setting beside the text."""
        super().__init__(detail)
        self.field = field


class DataError(TrainingError):
    """Data that is missing, damaged, or not of the shape that was promised."""


class UnknownDataError(DataError):
    """The name of a data set names nothing: no set of the library, no folder and no file."""


class WeightsError(TrainingError):
    """A weights file that cannot be trusted: wrong format, names, shapes, types or values."""


class DivergedError(TrainingError):
    """Training produced a loss or weights that are not finite."""
