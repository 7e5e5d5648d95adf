"""Exceptions of the library."""


class TrainingError(ValueError):
    """Base of all errors that the caller can fix."""


class ConfigError(TrainingError):
    """An invalid setting; `field` is its name, for forms and APIs."""

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        """Store the message and the name of the setting."""
        super().__init__(detail)
        self.field = field


class DataError(TrainingError):
    """Data that is missing, damaged or of the wrong shape."""


class UnknownDataError(DataError):
    """There is no data set, folder or file of this name."""


class WeightsError(TrainingError):
    """An invalid weights file: wrong format, names, shapes, types or values."""


class DivergedError(TrainingError):
    """Training produced a loss or weights that are not finite."""
